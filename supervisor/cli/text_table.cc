#include "supervisor/cli/text_table.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace pillion::supervisor::cli {

std::string paint(std::string_view text, Colour colour, bool with_colour) {
  if (!with_colour || colour == Colour::None || text.empty()) return std::string(text);
  const char* code = "0";
  switch (colour) {
    case Colour::None: break;
    case Colour::Bold: code = "1"; break;
    case Colour::Dim: code = "2"; break;
    case Colour::Red: code = "31"; break;
    case Colour::Green: code = "32"; break;
    case Colour::Yellow: code = "33"; break;
    case Colour::Cyan: code = "36"; break;
  }
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

bool wants_colour(int fd) {
  const char* no_colour = std::getenv("NO_COLOR");
  if (no_colour && *no_colour) return false;
  const char* terminal = std::getenv("TERM");
  return ::isatty(fd) == 1 && !(terminal && std::string_view(terminal) == "dumb");
}

namespace {

// Characters, not bytes: UTF-8 continuation bytes take no column.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

std::string render_table(const std::vector<std::vector<Cell>>& rows, std::string_view indent,
                         bool with_colour) {
  std::size_t columns = 0;
  for (const auto& row : rows) columns = std::max(columns, row.size());
  std::vector<std::size_t> widths(columns, 0);
  for (std::size_t column = 0; column < columns; ++column) {
    bool is_used = rows.size() == 1;
    for (std::size_t row = 0; row < rows.size(); ++row) {
      if (column >= rows[row].size()) continue;
      const std::string& text = rows[row][column].text;
      widths[column] = std::max(widths[column], width_of(text));
      is_used |= row > 0 && !text.empty() && text != "-";
    }
    if (!is_used) widths[column] = 0;
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line(indent);
    std::size_t pending_blanks = 0;
    for (std::size_t column = 0; column < row.size(); ++column) {
      if (widths[column] == 0) continue;
      const Cell& cell = row[column];
      if (!cell.text.empty()) {
        line.append(pending_blanks, ' ');
        pending_blanks = 0;
        line += paint(cell.text, cell.colour, with_colour);
      }
      pending_blanks += widths[column] - width_of(cell.text) + 2;
    }
    out += line + '\n';
  }
  return out;
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{}B", bytes);
  double value = static_cast<double>(bytes);
  const char* units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  int unit = -1;
  do {
    value /= 1024;
    ++unit;
  } while (value >= 1024 && unit < 4);
  return value >= 100 || value == static_cast<double>(static_cast<std::uint64_t>(value))
             ? fmt::format("{:.0f}{}", value, units[unit])
             : fmt::format("{:.1f}{}", value, units[unit]);
}

std::string format_duration(Duration duration) {
  using namespace std::chrono;
  const auto milliseconds_left = duration_cast<milliseconds>(duration).count();
  if (milliseconds_left < 1000) return fmt::format("{}ms", std::max<long>(milliseconds_left, 0));
  const auto seconds_left = milliseconds_left / 1000;
  if (seconds_left < 60) return fmt::format("{}s", seconds_left);
  if (seconds_left < 3600) return fmt::format("{}m {}s", seconds_left / 60, seconds_left % 60);
  const auto minutes_left = seconds_left / 60;
  if (minutes_left < 24 * 60) return fmt::format("{}h {}m", minutes_left / 60, minutes_left % 60);
  return fmt::format("{}d {}h", minutes_left / (24 * 60), minutes_left / 60 % 24);
}

}  // namespace pillion::supervisor::cli
