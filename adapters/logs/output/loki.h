// Grafana Loki's push API
// (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs). A stream per
// service, host and level, and what `labels` adds; the whole record is the line, as JSON. Loki
// drops an entry that it has already, so repeats after a crash do not show.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "adapters/logs/output/http_dialect.h"

namespace pillion::logs {

struct LokiOptions {
  std::string url;     // without final slash
  std::string tenant;  // X-Scope-OrgID; empty = none
  std::map<std::string, std::string> labels;
};

std::unique_ptr<HttpDialect> make_loki_dialect(LokiOptions options);

}  // namespace pillion::logs
