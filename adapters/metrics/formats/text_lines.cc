#include "adapters/metrics/formats/text_lines.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "adapters/metrics/model/number_text.h"
#include "runtime/take_line.h"

namespace pillion::metrics {
namespace {

// Of one line; a pattern that backtracks longer matches nothing.
constexpr std::uint32_t kStepsMax = 100'000;

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

struct Rule {
  config::TextMetric metric;
  std::unique_ptr<pcre2_code, FreeCode> code;
  std::unique_ptr<pcre2_match_data, FreeMatch> match;
  std::uint32_t value = 0;  // number of the group
  std::vector<std::pair<std::string, std::uint32_t>> labels;
};

std::vector<std::pair<std::string, std::uint32_t>> groups_of(const pcre2_code* code) {
  std::uint32_t count = 0;
  std::uint32_t size = 0;
  PCRE2_SPTR table = nullptr;
  pcre2_pattern_info(code, PCRE2_INFO_NAMECOUNT, &count);
  pcre2_pattern_info(code, PCRE2_INFO_NAMEENTRYSIZE, &size);
  pcre2_pattern_info(code, PCRE2_INFO_NAMETABLE, &table);
  std::vector<std::pair<std::string, std::uint32_t>> groups;
  for (std::uint32_t i = 0; i < count; ++i, table += size) {
    const auto number = static_cast<std::uint32_t>(table[0]) << 8 | table[1];
    groups.emplace_back(reinterpret_cast<const char*>(table + 2), number);
  }
  return groups;
}

Result<Rule> compile_rule(const config::TextMetric& metric) {
  int error = 0;
  std::size_t place = 0;
  Rule rule;
  rule.metric = metric;
  rule.code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(metric.pattern.data()),
                                metric.pattern.size(), 0, &error, &place, nullptr));
  if (!rule.code) {
    char text[256] = {};
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof text);
    return fail(fmt::format("pattern \"{}\": {} at byte {}", metric.pattern, text, place));
  }
  for (auto& [name, number] : groups_of(rule.code.get())) {
    if (name == "value") {
      rule.value = number;
    } else {
      rule.labels.emplace_back(name, number);
    }
  }
  if (rule.value == 0) {
    return fail(fmt::format("pattern \"{}\" has no group named value, such as (?<value>[0-9.]+)",
                            metric.pattern));
  }
  rule.match.reset(pcre2_match_data_create_from_pattern(rule.code.get(), nullptr));
  return rule;
}

std::string_view group(const Rule& rule, std::string_view line, std::uint32_t number) {
  const std::size_t* const places = pcre2_get_ovector_pointer(rule.match.get());
  const std::size_t first = places[2 * number];
  if (first == PCRE2_UNSET) return {};
  return line.substr(first, places[2 * number + 1] - first);
}

void take(const Rule& rule, std::string_view line, Families& out) {
  const auto number = parse_number(group(rule, line, rule.value));
  if (!number) return;
  Labels labels(rule.metric.labels.begin(), rule.metric.labels.end());
  for (const auto& [name, place] : rule.labels) {
    labels.emplace_back(name, group(rule, line, place));
  }
  const Kind kind = rule.metric.type == config::ValueType::Counter ? Kind::Counter : Kind::Gauge;
  Family& family = out.family(rule.metric.name, kind, rule.metric.help, rule.metric.unit);
  family.series.push_back({std::move(labels), *number * rule.metric.scale, nullptr, 0});
}

}  // namespace

struct TextLines::Rules {
  std::vector<Rule> rules;
  std::unique_ptr<pcre2_match_context, FreeContext> context;
};

TextLines::TextLines(std::unique_ptr<Rules> rules) : rules_(std::move(rules)) {}
TextLines::TextLines(TextLines&&) noexcept = default;
TextLines& TextLines::operator=(TextLines&&) noexcept = default;
TextLines::~TextLines() = default;

Result<TextLines> TextLines::compile(const config::TextInput& config) {
  auto rules = std::make_unique<Rules>();
  for (const auto& metric : config.metrics) {
    auto rule = compile_rule(metric);
    if (!rule) return fail(rule.error());
    rules->rules.push_back(std::move(*rule));
  }
  rules->context.reset(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(rules->context.get(), kStepsMax);
  return TextLines(std::move(rules));
}

Result<Families> TextLines::parse(std::string_view text) const {
  Families families;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    for (const Rule& rule : rules_->rules) {
      const int count = pcre2_match(rule.code.get(), reinterpret_cast<PCRE2_SPTR>(line.data()),
                                    line.size(), 0, 0, rule.match.get(), rules_->context.get());
      if (count > 0) take(rule, line, families);
    }
  }
  if (families.is_empty()) return fail("no line of the answer matches");
  return families;
}

}  // namespace pillion::metrics
