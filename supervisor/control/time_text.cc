#include "supervisor/control/time_text.h"

#include <fmt/format.h>

#include <ctime>

#include "config/parse_units.h"

namespace pillion::supervisor::control {

namespace {

// Exactly `count` digits at `at`.
std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return {};
  int value = 0;
  for (const char c : text.substr(at, count)) {
    if (c < '0' || c > '9') return {};
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace

std::string format_time(WallTime time) {
  const auto microseconds =
      std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = microseconds / 1'000'000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char date[32];
  const std::size_t length = std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:06}Z", std::string_view(date, length), microseconds % 1'000'000);
}

std::optional<WallTime> parse_time(std::string_view text) {
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
      text[16] != ':' || text.back() != 'Z') {
    return {};
  }
  const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const auto hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return {};
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  // Beyond, nanoseconds since 1970 have no room.
  if (*year < 1970 || *year > 2261) return {};
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return {};
  Duration fraction{};
  if (text.size() > 20) {
    if (text[19] != '.' || text.size() > 30) return {};
    Duration unit = std::chrono::seconds(1);
    for (const char c : text.substr(20, text.size() - 21)) {
      if (c < '0' || c > '9') return {};
      unit /= 10;
      fraction += unit * (c - '0');
    }
  }
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(*hour) +
         std::chrono::minutes(*minute) + std::chrono::seconds(*second) + fraction;
}

std::optional<WallTime> parse_since(const std::string& text, WallTime now) {
  if (const auto ago = config::parse_duration(text)) return now - *ago;
  return parse_time(text);
}

}  // namespace pillion::supervisor::control
