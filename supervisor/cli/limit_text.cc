#include "supervisor/cli/limit_text.h"

#include <charconv>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

namespace pillion::supervisor::cli {

std::string cpu_text(const std::string& text) {
  if (text.empty() || text.back() != '%') return text;
  double percent = 0;
  const char* end = text.data() + text.size() - 1;
  const auto parsed = std::from_chars(text.data(), end, percent, std::chars_format::fixed);
  const bool is_amount =
      parsed.ec == std::errc() && parsed.ptr == end && percent >= 0 && percent < 1e7;
  return is_amount ? fmt::format("{}m", std::lround(percent * 10)) : text;
}

std::string bytes_text(const std::string& text) {
  std::string_view rest = text;
  if (rest.ends_with('i')) rest.remove_suffix(1);
  if (rest.size() < 2 || rest[rest.size() - 2] < '0' || rest[rest.size() - 2] > '9') return text;
  const std::string_view number = rest.substr(0, rest.size() - 1);
  switch (rest.back()) {
    case 'K':
    case 'k': return fmt::format("{}KiB", number);
    case 'M':
    case 'm': return fmt::format("{}MiB", number);
    case 'G':
    case 'g': return fmt::format("{}GiB", number);
    case 'T':
    case 't': return fmt::format("{}TiB", number);
    default: return text;
  }
}

}  // namespace pillion::supervisor::cli
