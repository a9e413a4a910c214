#include "supervisor/usage/kernel_text.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace pillion::supervisor::usage {
namespace {

std::string_view next_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(" \t"));
  line.remove_prefix(word.size());
  return word;
}

std::uint64_t number_or_zero(std::string_view text) { return parse_number(text).value_or(0); }

double share_of(std::string_view text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// "key=value" → value when the key is right.
bool take(std::string_view word, std::string_view key, std::string_view& value) {
  if (!word.starts_with(key) || word.size() <= key.size() || word[key.size()] != '=') return false;
  value = word.substr(key.size() + 1);
  return true;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> find_key(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      return parse_number(line.substr(key.size() + 1));
    }
  }
  return std::nullopt;
}

std::string_view find_field(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = next_line(text);
    if (line.size() <= key.size() || !line.starts_with(key) || line[key.size()] != ':') continue;
    line.remove_prefix(key.size() + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    return line;
  }
  return {};
}

std::optional<Pressure> parse_pressure(std::string_view text) {
  Pressure pressure;
  bool is_found = false;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    const std::string_view kind = next_word(line);
    if (kind != "some" && kind != "full") continue;
    const bool is_some = kind == "some";
    is_found = true;
    while (!line.empty()) {
      const std::string_view word = next_word(line);
      std::string_view value;
      if (take(word, "avg10", value)) {
        (is_some ? pressure.some_average_10 : pressure.full_average_10) = share_of(value);
      } else if (take(word, "avg60", value)) {
        (is_some ? pressure.some_average_60 : pressure.full_average_60) = share_of(value);
      } else if (take(word, "total", value)) {
        (is_some ? pressure.some_microseconds : pressure.full_microseconds) = number_or_zero(value);
      }
    }
  }
  if (!is_found) return std::nullopt;
  return pressure;
}

IoCounters parse_io_stat(std::string_view text) {
  IoCounters io;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    while (!line.empty()) {
      const std::string_view word = next_word(line);
      std::string_view value;
      if (take(word, "rbytes", value)) io.read_bytes += number_or_zero(value);
      if (take(word, "wbytes", value)) io.write_bytes += number_or_zero(value);
      if (take(word, "rios", value)) io.read_operations += number_or_zero(value);
      if (take(word, "wios", value)) io.write_operations += number_or_zero(value);
    }
  }
  return io;
}

void add_blkio(std::string_view text, std::uint64_t& read, std::uint64_t& write) {
  while (!text.empty()) {
    std::string_view line = next_line(text);
    next_word(line);  // the device
    const std::string_view kind = next_word(line);
    const std::uint64_t number = number_or_zero(next_word(line));
    if (kind == "Read") read += number;
    if (kind == "Write") write += number;
  }
}

}  // namespace pillion::supervisor::usage
