#include "adapters/logs/output/statsd_lines.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "adapters/logs/encode/record_fields.h"
#include "adapters/logs/encode/record_values.h"

namespace pillion::logs {
namespace {

constexpr std::size_t kTagBytesMax = 200;

// The field's text; empty when the record lacks it.
std::optional<std::string> text_of(std::string_view object, std::string_view name) {
  RecordFields fields(object);
  for (RecordField field; fields.next(field);) {
    if (field.key != name) continue;
    return field.value.starts_with('"') ? unescaped(field.value) : std::string(field.value);
  }
  return std::nullopt;
}

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_number = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  return is_number ? std::optional(value) : std::nullopt;
}

// What would end the tag becomes `_`.
void append_tag_text(std::string& out, std::string_view text) {
  for (const char c : text.substr(0, kTagBytesMax)) {
    const bool is_special = c == ',' || c == '|' || c == '\n' || c == '\r';
    out += is_special ? '_' : c;
  }
}

std::string_view type_of(config::LogMetricType type) {
  switch (type) {
    case config::LogMetricType::Gauge: return "g";
    case config::LogMetricType::Histogram: return "h";
    case config::LogMetricType::Timer: return "ms";
    case config::LogMetricType::Set: return "s";
    case config::LogMetricType::Counter: break;
  }
  return "c";
}

// The value as it is sent; empty when the record has none that the type may have.
std::string value_of(const config::LogMetric& metric, std::string_view record) {
  if (!metric.value) return "1";
  const auto text = text_of(record, *metric.value);
  if (!text) return {};
  if (metric.type == config::LogMetricType::Set) {
    std::string value;
    for (const char c : *text) value += c == ':' || c == '|' || c == '\n' ? '_' : c;
    return value;
  }
  const auto number = number_of(*text);
  const bool is_usable = number && (metric.type != config::LogMetricType::Counter || *number >= 0);
  return is_usable ? fmt::format("{}", *number) : std::string();
}

// Type and tags: "|c|#status:PAID".
std::string tail_of(const config::LogMetric& metric, std::string_view record) {
  std::string tail = "|" + std::string(type_of(metric.type));
  char separator = '#';
  for (const auto& [label, field] : metric.labels) {
    const auto text = text_of(record, field);
    if (!text || text->empty()) continue;
    if (separator == '#') tail += '|';
    tail += separator;
    tail += label;
    tail += ':';
    append_tag_text(tail, *text);
    separator = ',';
  }
  return tail + "\n";
}

}  // namespace

Result<StatsdLines> StatsdLines::compile(const std::vector<config::LogMetric>& metrics) {
  StatsdLines lines;
  for (const config::LogMetric& metric : metrics) {
    Rule rule{metric, {}};
    for (const auto& [field, expression] : metric.match) {
      auto compiled = RegexFormat::compile(expression, false);
      if (!compiled) {
        return fail(compiled.error().wrap(fmt::format("{}: match.\"{}\"", metric.name, field)));
      }
      rule.match.emplace(field, std::move(*compiled));
    }
    lines.rules_.push_back(std::move(rule));
  }
  return lines;
}

void StatsdLines::append(std::string_view record, std::string& out) {
  for (Rule& rule : rules_) {
    const bool is_counted =
        std::all_of(rule.match.begin(), rule.match.end(), [&](const auto& condition) {
          const auto text = text_of(record, condition.first);
          return text && condition.second->match(*text) == RegexFormat::Match::Yes;
        });
    const std::string value = is_counted ? value_of(rule.metric, record) : std::string();
    if (value.empty()) continue;
    const std::string tail = tail_of(rule.metric, record);
    // A signed gauge would be a change of it, so a negative one is set to zero first.
    const bool is_negative = rule.metric.type == config::LogMetricType::Gauge && value[0] == '-';
    if (is_negative) out += rule.metric.name + ":0" + tail;
    out += rule.metric.name + ":" + value + tail;
  }
}

}  // namespace pillion::logs
