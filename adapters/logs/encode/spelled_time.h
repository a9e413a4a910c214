// Times that are not ISO 8601, as log formats spell them. The inner loops try ISO first and come
// here for the rest.
#pragma once

#include <cstdint>
#include <optional>

#include "adapters/logs/encode/state.h"

namespace pillion::logs {

// How a time may be spelled; what a layout's `%{time}` accepts. Fractions have up to nine digits
// behind `.` or `,`; zones are Z, UTC, GMT, +01, +0100 or +01:00 where the spelling has room for
// one.
enum class TimeSpelling : std::uint8_t {
  Iso,        // 2024-01-15 14:32:01.123 +0100, 2024/01/15T14:32:01Z
  Clf,        // 15/Jan/2024:14:32:01.123 +0000
  Syslog,     // Jan 15 14:32:01, Jan  5 14:32:01.123: no year
  Ctime,      // Mon Jan 15 14:32:01.123 2024
  DayMonth,   // 15 Jan 2024 14:32:01.123, 15 Jan 14:32:01.123
  ShortDate,  // 24/01/15 14:32:01 (year first), 240115 14:32:01, 240115 143201
  MonthDay,   // 01.15 14:32:01: no year
  Clock,      // 14:32:01.123: no date
  // Only where they are asked for, since other numbers look like them:
  Klog,   // 0115 14:32:01.123456: no year
  Epoch,  // 1705329121, 1705329121.123, 1705329121123
};

// Reads a time at `p`, in `spelling` or else in any but Klog and Epoch, and writes its rendering,
// "2024-01-15T14:32:01.123Z", at `out` (advanced). Returns the end of the time in the line, null
// when there is none. The spelling that fitted last is tried first.
//
// A time without year gets the one that puts it within (observed - 364 days, observed + 1 day], in
// the source's zone; a time without date that of the latest day on which it is not in the future.
const char* read_spelled_time(EncodeState& state, std::optional<TimeSpelling> spelling,
                              const char* p, const char* end, char*& out);

}  // namespace pillion::logs
