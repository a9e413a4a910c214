// Records by POST to any HTTP receiver: a line each, or one JSON array.
#pragma once

#include <memory>
#include <string>

#include "adapters/logs/output/http_dialect.h"

namespace pillion::logs {

struct NdjsonOptions {
  std::string url;
  HttpClient::Headers headers;
  bool is_array = false;
};

std::unique_ptr<HttpDialect> make_ndjson_dialect(NdjsonOptions options);

}  // namespace pillion::logs
