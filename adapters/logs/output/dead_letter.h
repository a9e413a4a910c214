// Records that an output will never accept, kept in a local file: one JSON line each, with the
// whole record, so that they can be mended and sent again.
//   {"@timestamp":"…","index":"orders","status":400,"error":{…},"document":{…}}
#pragma once

#include <string>
#include <string_view>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::logs {

class DeadLetterFile {
 public:
  explicit DeadLetterFile(std::string path) : path_(std::move(path)) {}

  // `error` is JSON text or empty, `document` a JSON object with or without final newline. A record
  // whose letter cannot be written is not dropped: the caller tries again.
  Result<void> append(std::string_view index, int status, std::string_view error,
                      std::string_view document, std::int64_t wall_ns);
  Result<void> sync();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Fd fd_;
};

}  // namespace pillion::logs
