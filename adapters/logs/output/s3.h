// Batches as objects of Amazon S3, or of what speaks like it: a record per line.
#pragma once

#include <memory>
#include <string>

#include "adapters/logs/output/http_dialect.h"
#include "adapters/logs/output/record_template.h"
#include "runtime/compression.h"

namespace pillion::logs {

struct S3Options {
  std::string url;  // without final slash
  std::string bucket;
  std::string region;
  RecordTemplate key;
  bool has_path_style = true;
  std::string access_key_file;
  std::string secret_key_file;
  std::string session_token_file;  // may be empty
  Coding coding = Coding::Gzip;
};

std::unique_ptr<HttpDialect> make_s3_dialect(S3Options options);

}  // namespace pillion::logs
