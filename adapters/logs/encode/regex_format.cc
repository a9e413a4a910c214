#include "adapters/logs/encode/regex_format.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace pillion::logs {
namespace {

// Steps of one match; a line that needs more is not worth it.
constexpr std::uint32_t kMatchLimit = 100'000;
constexpr int kGrokDepthMax = 8;
constexpr std::size_t kExpressionBytesMax = 64u << 10;

struct GrokPattern {
  std::string_view name;
  std::string_view expression;
};

constexpr GrokPattern kGrok[] = {
    {"WORD", R"(\b\w+\b)"},
    {"NOTSPACE", R"(\S+)"},
    {"SPACE", R"(\s*)"},
    {"DATA", R"(.*?)"},
    {"GREEDYDATA", R"(.*)"},
    {"INT", R"([+-]?\d+)"},
    {"POSINT", R"(\b[1-9]\d*\b)"},
    {"NONNEGINT", R"(\b\d+\b)"},
    {"NUMBER", R"([+-]?(?:\d+(?:\.\d+)?|\.\d+))"},
    {"BASE16NUM", R"((?:0[xX])?[0-9A-Fa-f]+)"},
    {"USERNAME", R"([a-zA-Z0-9._-]+)"},
    {"USER", R"([a-zA-Z0-9._-]+)"},
    {"EMAILADDRESS", R"([a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[0-9A-Za-z.-]+)"},
    {"IPV4",
     R"((?<![0-9.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![0-9.]))"},
    {"IPV6", R"([0-9A-Fa-f:]*:[0-9A-Fa-f:.]+(?:%[0-9A-Za-z]+)?)"},
    {"IP", R"((?:%{IPV4}|%{IPV6}))"},
    {"HOSTNAME", R"(\b[0-9A-Za-z][0-9A-Za-z-]{0,62}(?:\.[0-9A-Za-z][0-9A-Za-z-]{0,62})*\.?)"},
    {"IPORHOST", R"((?:%{IP}|%{HOSTNAME}))"},
    {"HOSTPORT", R"(%{IPORHOST}:%{POSINT})"},
    {"UUID", R"([A-Fa-f0-9]{8}-(?:[A-Fa-f0-9]{4}-){3}[A-Fa-f0-9]{12})"},
    {"QUOTEDSTRING", R"("(?:\\.|[^\\"])*"|'(?:\\.|[^\\'])*')"},
    {"QS", R"(%{QUOTEDSTRING})"},
    {"UNIXPATH", R"((?:/[\w_%!$@:.,+~-]*)+)"},
    {"PATH", R"(%{UNIXPATH})"},
    {"URIPATH", R"((?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_-]*)+)"},
    {"URIPARAM", R"(\?[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\[\]<>-]*)"},
    {"URIPATHPARAM", R"(%{URIPATH}(?:%{URIPARAM})?)"},
    {"URI", R"([A-Za-z][A-Za-z0-9+.-]*://\S+)"},
    {"LOGLEVEL",
     R"((?i:trace|debug|notice|info(?:rmation)?|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe|emerg(?:ency)?|alert))"},
    {"MONTH", R"(\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b)"},
    {"TIME", R"(\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)"},
    {"TIMESTAMP_ISO8601",
     R"(\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)"},
    {"HTTPDATE", R"(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})"},
    {"SYSLOGTIMESTAMP", R"([A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d)"},
    {"PROG", R"([\x21-\x5a\x5c\x5e-\x7e]+)"},
    {"JAVACLASS", R"([a-zA-Z$_][a-zA-Z$_0-9]*(?:\.[a-zA-Z$_][a-zA-Z$_0-9]*)*)"},
};

// PCRE2's group names are short and have neither dots nor dashes: a field that grok syntax names
// gets the group pillion_N, where N is its place in `fields`.
constexpr std::string_view kGroupPrefix = "pillion_";

std::string field_name(std::string_view group, const std::vector<std::string>& fields) {
  std::size_t index = 0;
  if (group.substr(0, kGroupPrefix.size()) == kGroupPrefix &&
      std::sscanf(group.data() + kGroupPrefix.size(), "%zu", &index) == 1 &&
      index < fields.size()) {
    return fields[index];
  }
  return std::string(group);
}

Result<std::string> expand_grok(std::string_view text, std::vector<std::string>& fields,
                                int depth) {
  std::string result;
  std::size_t at = 0;
  for (;;) {
    const std::size_t open = text.find("%{", at);
    result += text.substr(at, open == std::string_view::npos ? open : open - at);
    if (open == std::string_view::npos) return result;
    const std::size_t close = text.find('}', open);
    if (close == std::string_view::npos)
      return fail(fmt::format("character {}: %{{ without }}", open + 1));
    const std::string_view inside = text.substr(open + 2, close - open - 2);
    const std::size_t colon = std::min(inside.find(':'), inside.size());
    const std::string_view name = inside.substr(0, colon);
    const auto* const found =
        std::find_if(std::begin(kGrok), std::end(kGrok),
                     [&](const GrokPattern& known) { return known.name == name; });
    if (found == std::end(kGrok) || depth >= kGrokDepthMax) {
      return fail(fmt::format("character {}: unknown pattern %{{{}}}", open + 1, name));
    }
    auto inner = expand_grok(found->expression, fields, depth + 1);
    if (!inner) return inner;
    if (colon < inside.size()) {
      // Grok allows ":int" behind the field; numbers are told by their look here.
      std::string_view field = inside.substr(colon + 1);
      field = field.substr(0, field.find(':'));
      result += fmt::format("(?<{}{}>{})", kGroupPrefix, fields.size(), *inner);
      fields.emplace_back(field);
    } else {
      result += "(?:" + *inner + ")";
    }
    at = close + 1;
  }
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct RegexFormat::Compiled {
  pcre2_code* code = nullptr;
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* jit_stack = nullptr;
  bool has_jit = false;
  const char* subject = nullptr;
  ~Compiled() {
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(jit_stack);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
  }
};

RegexFormat::RegexFormat(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
RegexFormat::~RegexFormat() = default;

Result<std::shared_ptr<RegexFormat>> RegexFormat::compile(const std::string& expression,
                                                          bool needs_groups) {
  std::vector<std::string> fields;
  auto expanded = expand_grok(expression, fields, 0);
  if (!expanded) return fail(expanded.error());
  if (expanded->size() > kExpressionBytesMax) return fail("longer than 64 KiB");
  auto compiled = std::make_unique<Compiled>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expanded->data()), expanded->size(),
                                 PCRE2_DUPNAMES, &error, &offset, nullptr);
  if (compiled->code == nullptr) {
    const bool is_same = *expanded == expression;
    return fail(fmt::format("character {}{}: {}", offset + 1,
                            is_same ? "" : " (with grok patterns written out)", message_of(error)));
  }
  compiled->has_jit = pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE) == 0;
  compiled->data = pcre2_match_data_create_from_pattern(compiled->code, nullptr);
  compiled->context = pcre2_match_context_create(nullptr);
  compiled->jit_stack = pcre2_jit_stack_create(32u << 10, 1u << 20, nullptr);
  pcre2_jit_stack_assign(compiled->context, nullptr, compiled->jit_stack);
  pcre2_set_match_limit(compiled->context, kMatchLimit);

  std::shared_ptr<RegexFormat> format(new RegexFormat(std::move(compiled)));
  std::uint32_t count = 0;
  std::uint32_t entry_size = 0;
  PCRE2_SPTR table = nullptr;
  pcre2_pattern_info(format->compiled_->code, PCRE2_INFO_NAMECOUNT, &count);
  pcre2_pattern_info(format->compiled_->code, PCRE2_INFO_NAMEENTRYSIZE, &entry_size);
  pcre2_pattern_info(format->compiled_->code, PCRE2_INFO_NAMETABLE, &table);
  if (count == 0 && needs_groups)
    return fail("no named group: write (?<field>…) or %{PATTERN:field}");
  if (count > 128) return fail("more than 128 named groups");
  for (std::uint32_t i = 0; i < count; ++i, table += entry_size) {
    Group group;
    group.number = static_cast<unsigned>(table[0]) << 8 | table[1];
    group.name = field_name(reinterpret_cast<const char*>(table + 2), fields);
    group.is_time = group.name == "time" || group.name == "timestamp" || group.name == "@timestamp";
    group.is_level = group.name == "level" || group.name == "log.level" || group.name == "severity";
    group.role = group.name == "message" ? FieldRole::Message : FieldRole::Field;
    group.name.reserve(group.name.size() + 64);
    format->groups_.push_back(std::move(group));
  }
  std::sort(format->groups_.begin(), format->groups_.end(),
            [](const Group& a, const Group& b) { return a.number < b.number; });
  return format;
}

RegexFormat::Match RegexFormat::match(std::string_view line, std::size_t from) {
  const auto* const subject = reinterpret_cast<PCRE2_SPTR>(line.data());
  compiled_->subject = line.data();
  const int count = compiled_->has_jit
                        ? pcre2_jit_match(compiled_->code, subject, line.size(), from, 0,
                                          compiled_->data, compiled_->context)
                        : pcre2_match(compiled_->code, subject, line.size(), from, 0,
                                      compiled_->data, compiled_->context);
  if (count >= 0) return Match::Yes;
  return count == PCRE2_ERROR_NOMATCH ? Match::No : Match::GaveUp;
}

std::string_view RegexFormat::group(unsigned number) const {
  const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(compiled_->data);
  if (number >= pcre2_get_ovector_count(compiled_->data)) return {};
  const PCRE2_SIZE begin = ends[2 * number];
  const PCRE2_SIZE end = ends[2 * number + 1];
  if (begin == PCRE2_UNSET || end < begin) return {};
  return {compiled_->subject + begin, end - begin};
}

}  // namespace pillion::logs
