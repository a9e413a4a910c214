// Text for people: columns, sizes, durations, and colour where there is a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"

namespace pillion::supervisor::cli {

enum class Colour { None, Bold, Dim, Red, Green, Yellow, Cyan };

// `text` in `colour`, or as it is without colours.
std::string paint(std::string_view text, Colour colour, bool with_colour);

// A terminal that wants colours (NO_COLOR is honoured).
bool wants_colour(int fd);

struct Cell {
  std::string text;
  Colour colour = Colour::None;
};

// Columns as wide as their widest cell, two blanks between, no blanks at the end of a line. A
// column that is empty in every row below the first is left out.
std::string render_table(const std::vector<std::vector<Cell>>& rows, std::string_view indent,
                         bool with_colour);

// "512B", "12.3MiB"
std::string format_bytes(std::uint64_t bytes);
// "250ms", "12s", "4m 5s", "3h 2m", "2d 4h"
std::string format_duration(Duration duration);

}  // namespace pillion::supervisor::cli
