// Records for people: a field per line.
#pragma once

#include <string>
#include <string_view>

namespace pillion::logs {

// Appends the JSON object that an Encoder has written, with two blanks per level and a final
// newline.
void append_indented(std::string& out, std::string_view record);

}  // namespace pillion::logs
