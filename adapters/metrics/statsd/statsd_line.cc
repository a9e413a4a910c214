#include "adapters/metrics/statsd/statsd_line.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "adapters/metrics/model/number_text.h"

namespace pillion::metrics {
namespace {

using config::StatsdType;

// Counts are short and whole as a rule.
bool read_number(std::string_view text, double& value) {
  if (!text.empty() && text.size() <= 15) {
    std::uint64_t whole = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), whole);
    if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) {
      value = static_cast<double>(whole);
      return true;
    }
  }
  const auto number = parse_number(text);
  if (number) value = *number;
  return number.has_value();
}

bool read_type(std::string_view text, StatsdType& type) {
  if (text.size() == 1) {
    switch (text.front()) {
      case 'c':
      case 'm': type = StatsdType::Counter; return true;
      case 'g': type = StatsdType::Gauge; return true;
      case 'h': type = StatsdType::Histogram; return true;
      case 'd': type = StatsdType::Distribution; return true;
      case 's': type = StatsdType::Set; return true;
      default: return false;
    }
  }
  type = StatsdType::Timer;
  return text == "ms";
}

void add_tag(StatsdTags& tags, std::string_view tag, char separator) {
  const auto at = tag.find(separator);
  const std::string_view name = tag.substr(0, at);
  if (name.empty()) return;
  tags.emplace_back(name, at == std::string_view::npos ? "true" : tag.substr(at + 1));
}

void add_tags(StatsdTags& tags, std::string_view text, char between, char separator) {
  while (!text.empty()) {
    const auto end = std::min(text.find(between), text.size());
    add_tag(tags, text.substr(0, end), separator);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

std::string_view name_of(StatsdProblem problem) {
  switch (problem) {
    case StatsdProblem::None: return "none";
    case StatsdProblem::Malformed: return "malformed";
    case StatsdProblem::BadNumber: return "number";
    case StatsdProblem::BadType: return "type";
    case StatsdProblem::BadRate: return "rate";
    case StatsdProblem::TooLong: return "long";
    case StatsdProblem::Unsupported: return "unsupported";
  }
  return "malformed";
}

bool StatsdLine::fail(StatsdProblem problem) {
  problem_ = problem;
  rest_ = {};
  values_ = {};
  return false;
}

bool StatsdLine::begin() {
  has_begun_ = true;
  if (rest_.starts_with("_e{") || rest_.starts_with("_sc|")) {
    return fail(StatsdProblem::Unsupported);
  }
  const auto colon = rest_.find(':');
  if (colon == std::string_view::npos || colon == 0) return fail(StatsdProblem::Malformed);
  if (colon > kStatsdNameBytesMax) return fail(StatsdProblem::TooLong);
  group_.name = rest_.substr(0, colon);
  rest_.remove_prefix(colon + 1);
  return true;
}

bool StatsdLine::next(StatsdSample& sample) {
  if (!has_begun_ && !begin()) return false;
  if (values_.empty()) {
    if (rest_.empty() || !read_group()) return false;
  }
  return take_value(sample);
}

// "1:2:3|ms|@0.5|#a:b", up to the end or to the ':' before the next group of plain statsd.
bool StatsdLine::read_group() {
  const auto bar = rest_.find('|');
  if (bar == std::string_view::npos || bar == 0) return fail(StatsdProblem::Malformed);
  values_ = rest_.substr(0, bar);
  rest_.remove_prefix(bar + 1);
  const auto end = std::min(rest_.find_first_of("|:"), rest_.size());
  if (!read_type(rest_.substr(0, end), group_.type)) return fail(StatsdProblem::BadType);
  rest_.remove_prefix(end);
  group_.rate = 1;
  group_.tags = {};
  while (rest_.starts_with('|')) {
    rest_.remove_prefix(1);
    if (!read_fields(rest_)) return false;
  }
  if (rest_.starts_with(':')) {
    rest_.remove_prefix(1);
    if (rest_.empty()) return fail(StatsdProblem::Malformed);
  }
  return true;
}

// One field behind the type, and moves `rest_` behind it.
bool StatsdLine::read_fields(std::string_view fields) {
  const char first = fields.empty() ? '\0' : fields.front();
  const std::string_view ends = first == '@' ? "|:" : "|";
  const auto end = std::min(fields.find_first_of(ends), fields.size());
  const std::string_view field = fields.substr(0, end);
  rest_ = fields.substr(end);
  if (first == '@') {
    if (!read_number(field.substr(1), group_.rate)) return fail(StatsdProblem::BadRate);
    const bool is_rate = group_.rate > 0 && group_.rate <= 1;
    return is_rate || fail(StatsdProblem::BadRate);
  }
  if (first == '#') {
    if (field.size() > kStatsdNameBytesMax) return fail(StatsdProblem::TooLong);
    group_.tags = field.substr(1);
    return true;
  }
  // Where the sample came from and when: nothing that a running total could use.
  const bool is_known = first == 'T' || field.starts_with("c:") || field.starts_with("e:") ||
                        field.starts_with("card:");
  return is_known || fail(StatsdProblem::Malformed);
}

bool StatsdLine::take_value(StatsdSample& sample) {
  const auto end = std::min(values_.find(':'), values_.size());
  const std::string_view text = values_.substr(0, end);
  values_.remove_prefix(std::min(end + 1, values_.size()));
  sample = group_;
  sample.text = text;
  if (text.empty()) return fail(StatsdProblem::BadNumber);
  if (sample.type == StatsdType::Set) return true;
  if (!read_number(text, sample.value)) return fail(StatsdProblem::BadNumber);
  if (sample.type == StatsdType::Gauge) {
    sample.is_delta = text.front() == '+' || text.front() == '-';
    return true;
  }
  const bool is_counted =
      std::isfinite(sample.value) && (sample.type != StatsdType::Counter || sample.value >= 0);
  return is_counted || fail(StatsdProblem::BadNumber);
}

std::string_view split_name(const StatsdSample& sample, StatsdTags& tags, std::string& buffer) {
  std::string_view name = sample.name;
  const auto at = name.find_first_of(",#;[");
  if (at != std::string_view::npos && at > 0) {
    const char style = name[at];
    if (style == '[') {
      const auto end = name.find(']', at);
      if (end != std::string_view::npos) {
        add_tags(tags, name.substr(at + 1, end - at - 1), ',', '=');
        buffer.assign(name.substr(0, at));
        buffer += name.substr(end + 1);
        name = buffer;
      }
    } else {
      add_tags(tags, name.substr(at + 1), style == ';' ? ';' : ',', '=');
      name = name.substr(0, at);
    }
  }
  add_tags(tags, sample.tags, ',', ':');
  return name;
}

}  // namespace pillion::metrics
