#include "supervisor/cli/log_records.h"

#include <charconv>

namespace pillion::supervisor::cli {

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

// The text up to the next blank, which is dropped.
std::string_view take_word(std::string_view& rest) {
  const std::size_t blank = rest.find(' ');
  const std::string_view word = rest.substr(0, blank);
  rest = blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
  return word;
}

}  // namespace

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

std::optional<LogRecord> parse_log_record(std::string_view line) {
  LogRecord record;
  record.time_text = take_word(line);
  const auto time = parse_time(record.time_text);
  if (!time) return {};
  record.time = *time;
  record.stream = take_word(line);
  if (record.stream != "stdout" && record.stream != "stderr") return {};
  std::string_view tags = take_word(line);
  if (tags.empty() || (tags[0] != 'F' && tags[0] != 'P')) return {};
  record.is_partial = tags[0] == 'P';
  // Tags are separated by colons; ours is g<generation>.
  for (std::size_t colon = tags.find(':'); colon != std::string_view::npos;) {
    tags = tags.substr(colon + 1);
    colon = tags.find(':');
    const std::string_view tag = tags.substr(0, colon);
    if (tag.size() > 1 && tag[0] == 'g') {
      std::from_chars(tag.data() + 1, tag.data() + tag.size(), record.generation);
    }
  }
  record.text = line;
  return record;
}

}  // namespace pillion::supervisor::cli
