#include "adapters/logs/encode/timestamp.h"

#include <algorithm>
#include <cstring>

namespace pillion::logs {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Two digits as a number, -1 when they are none.
int two_digits(const char* p) {
  return is_digit(p[0]) && is_digit(p[1]) ? (p[0] - '0') * 10 + (p[1] - '0') : -1;
}

void write_two(char* out, int value) {
  out[0] = static_cast<char>('0' + value / 10 % 10);
  out[1] = static_cast<char>('0' + value % 10);
}

bool is_leap(int year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

int days_in_month(int year, int month) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : kDays[month - 1];
}

bool is_valid_minute(const CivilTime& civil) {
  return civil.year >= 1 && civil.year <= 9999 && civil.month >= 1 && civil.month <= 12 &&
         civil.day >= 1 && civil.day <= days_in_month(civil.year, civil.month) && civil.hour >= 0 &&
         civil.hour <= 23 && civil.minute >= 0 && civil.minute <= 59;
}

int month_by_name(const char* p) {
  constexpr std::string_view kNames = "JanFebMarAprMayJunJulAugSepOctNovDec";
  for (std::size_t i = 0; i < 12; ++i) {
    if (std::memcmp(kNames.data() + i * 3, p, 3) == 0) return static_cast<int>(i) + 1;
  }
  return 0;
}

}  // namespace

bool fill_minute(EncodeState& state, MinuteCache& cache, const CivilTime& civil,
                 std::string_view key, std::string_view zone) {
  if (!is_valid_minute(civil) || zone.size() > sizeof cache.zone) return false;
  TimeZone::Answer answer;
  if (zone.empty()) {
    answer = state.zone.resolve(civil, state.last_unix_minute);
  } else {
    const auto offset = parse_zone_offset(zone);
    if (!offset) return false;
    answer.unix_seconds = unix_seconds_of(civil) - *offset;
  }
  char rendered[20];
  render_seconds(answer.unix_seconds, rendered);
  std::memcpy(cache.utc, rendered, sizeof cache.utc);
  std::memcpy(cache.key, key.data(), key.size());
  zone.copy(cache.zone, sizeof cache.zone);
  cache.zone_length = static_cast<std::uint8_t>(zone.size());
  cache.unix_minute = answer.unix_seconds;
  state.last_unix_minute = answer.unix_seconds;
  cache.is_valid = !answer.is_repeated;
  return true;
}

std::string_view name_of(Format format) {
  constexpr std::string_view kNames[kFormatCount] = {
      "auto",    "mixed", "raw",         "json",         "logfmt",      "prefixed-logfmt",
      "clf",     "timed", "nginx-error", "apache-error", "syslog-3164", "syslog-5424",
      "log4j",   "glog",  "python",      "postgresql",   "mysql",       "redis",
      "haproxy", "envoy", "java-gc",     "csv",          "ltsv",        "key-value",
      "pattern", "regex"};
  return kNames[static_cast<std::size_t>(format)];
}

std::optional<int> parse_zone_offset(std::string_view text) {
  if (!text.empty() && text[0] == ' ') text.remove_prefix(1);
  if (text == "Z" || text == "z" || text == "UTC" || text == "GMT") return 0;
  if (text.size() < 3 || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  const int hours = two_digits(text.data() + 1);
  int minutes = 0;
  if (text.size() == 5) {
    minutes = two_digits(text.data() + 3);
  } else if (text.size() == 6 && text[3] == ':') {
    minutes = two_digits(text.data() + 4);
  } else if (text.size() != 3) {
    return std::nullopt;
  }
  if (hours < 0 || hours > 18 || minutes < 0 || minutes > 59) return std::nullopt;
  const int offset = hours * 3600 + minutes * 60;
  return text[0] == '-' ? -offset : offset;
}

bool fill_iso_minute(EncodeState& state, MinuteCache& cache, const char* text,
                     std::string_view zone) {
  const char separator = text[4];
  const bool is_shaped = (separator == '-' || separator == '/') && text[7] == separator &&
                         (text[10] == ' ' || text[10] == 'T' || text[10] == 't') && text[13] == ':';
  if (!is_shaped) return false;
  const int century = two_digits(text);
  const int year = two_digits(text + 2);
  if (century < 0 || year < 0) return false;
  const CivilTime civil{century * 100 + year,  two_digits(text + 5),  two_digits(text + 8),
                        two_digits(text + 11), two_digits(text + 14), 0};
  return fill_minute(state, cache, civil, {text, 16}, zone);
}

bool fill_clf_minute(EncodeState& state, MinuteCache& cache, const char* text,
                     std::string_view zone) {
  const bool is_shaped = text[2] == '/' && text[6] == '/' && text[11] == ':' && text[14] == ':';
  if (!is_shaped) return false;
  const int century = two_digits(text + 7);
  const int year = two_digits(text + 9);
  if (century < 0 || year < 0) return false;
  const CivilTime civil{century * 100 + year,  month_by_name(text + 3), two_digits(text),
                        two_digits(text + 12), two_digits(text + 15),   0};
  return fill_minute(state, cache, civil, {text, 17}, zone);
}

void render_seconds(std::int64_t unix_seconds, char* out) {
  const CivilTime civil = civil_of(unix_seconds);
  write_two(out, civil.year / 100);
  write_two(out + 2, civil.year % 100);
  out[4] = '-';
  write_two(out + 5, civil.month);
  out[7] = '-';
  write_two(out + 8, civil.day);
  out[10] = 'T';
  write_two(out + 11, civil.hour);
  out[13] = ':';
  write_two(out + 14, civil.minute);
  out[16] = ':';
  write_two(out + 17, civil.second);
}

std::size_t render_epoch(std::string_view text, char* out) {
  const std::size_t dot = std::min(text.find('.'), text.size());
  const std::string_view whole = text.substr(0, dot);
  std::string_view fraction = text.substr(std::min(dot + 1, text.size()));
  // 10 digits are seconds, 13 milliseconds, 16 microseconds, 19 nanoseconds.
  if (whole.size() != 10 && whole.size() != 13 && whole.size() != 16 && whole.size() != 19)
    return 0;
  if (whole.size() != 10) fraction = whole.substr(10);
  if (!std::all_of(whole.begin(), whole.end(), is_digit) ||
      !std::all_of(fraction.begin(), fraction.end(), is_digit)) {
    return 0;
  }
  std::int64_t seconds = 0;
  for (const char digit : whole.substr(0, 10)) seconds = seconds * 10 + (digit - '0');
  render_seconds(seconds, out);
  std::size_t length = 19;
  fraction = fraction.substr(0, 9);
  if (!fraction.empty()) {
    out[length++] = '.';
    std::memcpy(out + length, fraction.data(), fraction.size());
    length += fraction.size();
  }
  out[length++] = 'Z';
  return length;
}

std::size_t render_wall_time(std::int64_t unix_nanoseconds, char* out) {
  render_seconds(unix_nanoseconds / 1'000'000'000, out);
  const int milliseconds = static_cast<int>(unix_nanoseconds / 1'000'000 % 1000);
  out[19] = '.';
  out[20] = static_cast<char>('0' + milliseconds / 100);
  write_two(out + 21, milliseconds % 100);
  out[23] = 'Z';
  return 24;
}

}  // namespace pillion::logs
