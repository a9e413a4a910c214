// Lines of a file descriptor, with a bound on what one of them may take; or the lines of a record.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "adapters/logs/encode/line_groups.h"
#include "runtime/result.h"

namespace pillion::logs {

class LineReader {
 public:
  // Of a longer line, its first `line_bytes_max` + 1 bytes come, so that an encoder sees the cut.
  LineReader(int fd, std::size_t line_bytes_max, const std::optional<GroupRules>& groups = {})
      : fd_(fd), line_bytes_max_(line_bytes_max) {
    if (groups) group_.emplace(*groups);
  }

  // The next line, or the lines of one record with "\n" between them. False at the end. The last
  // line may lack its newline.
  Result<bool> next(std::string& text);
  // Of what next() gave: its first line, from 1.
  std::uint64_t number() const { return number_; }

 private:
  Result<bool> next_line(std::string& line);

  std::optional<LineGroup> group_;
  std::string ahead_;  // a line read to see that the record before it has ended
  bool has_ahead_ = false;
  std::uint64_t number_ = 0;
  std::uint64_t line_count_ = 0;
  int fd_;
  std::size_t line_bytes_max_;
  std::string buffer_;
  std::size_t at_ = 0;
};

}  // namespace pillion::logs
