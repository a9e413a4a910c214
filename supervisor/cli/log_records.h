// The records of a child's output on disk, in the CRI log format, and how they are chosen.
//   2024-01-15T14:32:01.123456789Z stdout F:g3 the line
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "runtime/clock.h"

namespace pillion::supervisor::cli {

struct LogRecord {
  WallTime time;
  std::string_view time_text;
  std::string_view stream;  // "stdout" or "stderr"
  bool is_partial = false;  // the line goes on in the next record
  std::uint64_t generation = 0;
  std::string_view text;
};

// Views into `line`, which has no newline. Empty for what is no record.
std::optional<LogRecord> parse_log_record(std::string_view line);

}  // namespace pillion::supervisor::cli
