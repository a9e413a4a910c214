#include "supervisor/usage/quantity_text.h"

#include <cmath>
#include <cstdint>

#include <fmt/format.h>

namespace pillion::supervisor::usage {

std::string describe_bytes(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  const bool is_whole = unit == 0 || bytes >= 100 || bytes == std::floor(bytes);
  return is_whole ? fmt::format("{:.0f} {}", bytes, kUnits[unit])
                  : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string describe_cpu(double millis) {
  return millis < 1000 ? fmt::format("{:.0f}m", millis) : fmt::format("{:.3g}", millis / 1000);
}

std::string describe_span(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds);
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m {}s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h {}m", whole / 3600, whole / 60 % 60);
  return fmt::format("{}d {}h", whole / 86400, whole / 3600 % 24);
}

}  // namespace pillion::supervisor::usage
