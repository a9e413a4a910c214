// Lines of a file descriptor, with a bound on what one of them may take.
#pragma once

#include <string>

#include "runtime/result.h"

namespace pillion::logs {

class LineReader {
 public:
  // Of a longer line, its first `line_bytes_max` + 1 bytes come, so that an encoder sees the cut.
  LineReader(int fd, std::size_t line_bytes_max) : fd_(fd), line_bytes_max_(line_bytes_max) {}

  // False at the end. The last line may lack its newline.
  Result<bool> next(std::string& line);

 private:
  int fd_;
  std::size_t line_bytes_max_;
  std::string buffer_;
  std::size_t at_ = 0;
};

}  // namespace pillion::logs
