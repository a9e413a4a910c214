#include "adapters/logs/output/record_template.h"

#include <time.h>

#include <algorithm>
#include <map>
#include <utility>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/encode/record_values.h"

namespace pillion::logs {
namespace {

constexpr std::string_view kMissing = "none";
constexpr std::size_t kTimeBytesMax = 1024;

std::string formatted(const std::string& format, std::int64_t nanoseconds) {
  if (format.find('%') == std::string::npos) return format;
  const time_t seconds = nanoseconds / 1'000'000'000;
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  char out[kTimeBytesMax];
  const std::size_t length = ::strftime(out, sizeof out, format.c_str(), &parts);
  return {out, length};
}

std::string text_of(std::string_view value) {
  return value.size() >= 2 && value.front() == '"' ? unescaped(value) : std::string(value);
}

}  // namespace

Result<RecordTemplate> RecordTemplate::compile(std::string_view text, bool takes_time) {
  RecordTemplate result;
  result.takes_time_ = takes_time;
  while (!text.empty()) {
    const std::size_t at = std::min(text.find("%{"), text.size());
    if (at > 0) result.parts_.push_back({std::string(text.substr(0, at)), false});
    text.remove_prefix(at);
    if (text.empty()) break;
    const std::size_t end = text.find('}');
    if (end == std::string_view::npos) return fail("\"" + std::string(text) + "\" lacks its }");
    if (end == 2) return fail("%{} names no field");
    result.parts_.push_back({std::string(text.substr(2, end - 2)), true});
    text.remove_prefix(end + 1);
  }
  return result;
}

std::string RecordTemplate::render(std::string_view record, std::string_view id) const {
  std::map<std::string_view, std::string_view> values;
  std::int64_t nanoseconds = 0;
  if (!is_constant()) {
    RecordFields fields(record);
    for (RecordField field; fields.next(field);) {
      values.try_emplace(field.key, field.value);
      if (field.key == "@timestamp") nanoseconds = unix_nanoseconds(field.value);
    }
  }
  std::string out;
  for (const Part& part : parts_) {
    if (!part.is_field) {
      out += takes_time_ ? formatted(part.text, nanoseconds) : part.text;
    } else if (part.text == "id") {
      out += id;
    } else {
      const auto found = values.find(part.text);
      out += found == values.end() ? std::string(kMissing) : text_of(found->second);
    }
  }
  return out;
}

bool RecordTemplate::has_id() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.is_field && part.text == "id"; });
}

bool RecordTemplate::is_constant() const {
  return std::none_of(parts_.begin(), parts_.end(), [&](const Part& part) {
    return part.is_field || (takes_time_ && part.text.find('%') != std::string::npos);
  });
}

}  // namespace pillion::logs
