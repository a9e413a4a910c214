#include "adapters/metrics/model/number_text.h"

#include <charconv>
#include <cmath>

namespace pillion::metrics {
namespace {

constexpr std::size_t kNumberBytesMax = 32;

std::string_view special(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return {};
}

}  // namespace

void append_number(std::string& out, double value) {
  if (const std::string_view name = special(value); !name.empty()) {
    out += name;
    return;
  }
  char text[kNumberBytesMax];
  // Whole numbers in full, as far as a double counts exactly.
  const bool is_whole = std::floor(value) == value && std::abs(value) < 9007199254740992.0;
  const auto done = is_whole
                        ? std::to_chars(text, text + sizeof text, static_cast<long long>(value))
                        : std::to_chars(text, text + sizeof text, value);
  out.append(text, done.ptr);
}

std::string canonical_number(double value) {
  if (const std::string_view name = special(value); !name.empty()) return std::string(name);
  char text[kNumberBytesMax];
  const double size = std::abs(value);
  const bool is_long = size != 0 && (size < 1e-4 || size >= 1e6);
  const auto format = is_long ? std::chars_format::scientific : std::chars_format::fixed;
  const auto done = std::to_chars(text, text + sizeof text, value, format);
  std::string out(text, done.ptr);
  if (!is_long && out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  if (parsed.ec == std::errc::result_out_of_range) {
    // from_chars leaves the value alone: too large, or too small to matter.
    const auto exponent = text.find_first_of("eE");
    const bool is_small = exponent != std::string_view::npos && exponent + 1 < text.size() &&
                          text[exponent + 1] == '-';
    const double limit = is_small ? 0 : HUGE_VAL;
    return text.starts_with('-') ? -limit : limit;
  }
  if (parsed.ec != std::errc()) return std::nullopt;
  return value;
}

}  // namespace pillion::metrics
