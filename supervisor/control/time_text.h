// Points in time as text: RFC 3339 in UTC.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/clock.h"

namespace pillion::supervisor::control {

// "2024-01-15T14:32:01.123456Z"
std::string format_time(WallTime time);
// With up to nine decimals; empty for anything else.
std::optional<WallTime> parse_time(std::string_view text);
// "10m" ago, or a time as above.
std::optional<WallTime> parse_since(const std::string& text, WallTime now);

}  // namespace pillion::supervisor::control
