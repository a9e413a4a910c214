#include "supervisor/cli/log_records.h"

#include <charconv>

#include "supervisor/control/time_text.h"

namespace pillion::supervisor::cli {

namespace {

// The text up to the next blank, which is dropped.
std::string_view take_word(std::string_view& rest) {
  const std::size_t blank = rest.find(' ');
  const std::string_view word = rest.substr(0, blank);
  rest = blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
  return word;
}

}  // namespace

std::optional<LogRecord> parse_log_record(std::string_view line) {
  LogRecord record;
  record.time_text = take_word(line);
  const auto time = control::parse_time(record.time_text);
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
