// Reading back values that an Encoder has written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pillion::logs {

// Of "2024-01-15T14:32:01.123Z" with its quotes; 0 when it is something else.
std::int64_t unix_nanoseconds(std::string_view json_string);

// The text of a JSON string, given with its quotes.
std::string unescaped(std::string_view json_string);

}  // namespace pillion::logs
