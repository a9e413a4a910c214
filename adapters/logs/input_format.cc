#include "adapters/logs/input_format.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/logs/encode/layout.h"
#include "adapters/logs/encode/regex_format.h"

namespace pillion::logs {
namespace {

// The names in "time,level,message".
Result<std::vector<std::string>> columns_of(const std::string& list) {
  std::vector<std::string> columns;
  std::size_t at = 0;
  for (;;) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    std::string name = list.substr(at, comma - at);
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    const bool has_bad = std::any_of(name.begin(), name.end(), [](unsigned char c) {
      return c <= ' ' || c == '"' || c == '\\' || c >= 0x7f;
    });
    if (has_bad || name.size() > kKeyBytesMax) return fail("\"" + name + "\" is no field name");
    columns.push_back(std::move(name));  // an empty one is skipped in lines
    if (comma == list.size()) break;
    at = comma + 1;
  }
  if (columns.size() > kFieldsMax - 2) return fail("more than 254 columns");
  return columns;
}

GroupPreset preset_of(config::Multiline preset) {
  switch (preset) {
    case config::Multiline::Java: return GroupPreset::Java;
    case config::Multiline::Python: return GroupPreset::Python;
    case config::Multiline::Go: return GroupPreset::Go;
    case config::Multiline::Node: return GroupPreset::Node;
    case config::Multiline::Ruby: return GroupPreset::Ruby;
    case config::Multiline::Dotnet: return GroupPreset::Dotnet;
    case config::Multiline::Generic: return GroupPreset::Generic;
    case config::Multiline::Pattern: return GroupPreset::Pattern;
    case config::Multiline::None:
    case config::Multiline::Auto: break;
  }
  return GroupPreset::Auto;
}

}  // namespace

Format format_of(config::LogFormat format) {
  switch (format) {
    case config::LogFormat::Auto: return Format::Auto;
    case config::LogFormat::Raw: return Format::Raw;
    case config::LogFormat::Json: return Format::Json;
    case config::LogFormat::Logfmt: return Format::Logfmt;
    case config::LogFormat::PrefixedLogfmt: return Format::PrefixedLogfmt;
    case config::LogFormat::Clf:
    case config::LogFormat::Combined: return Format::Clf;
    case config::LogFormat::NginxError: return Format::NginxError;
    case config::LogFormat::ApacheError: return Format::ApacheError;
    case config::LogFormat::Syslog3164: return Format::Syslog3164;
    case config::LogFormat::Syslog5424: return Format::Syslog5424;
    case config::LogFormat::Log4j: return Format::Log4j;
    case config::LogFormat::Glog: return Format::Glog;
    case config::LogFormat::Python: return Format::Python;
    case config::LogFormat::Postgresql: return Format::Postgresql;
    case config::LogFormat::Mysql: return Format::Mysql;
    case config::LogFormat::Redis: return Format::Redis;
    case config::LogFormat::Haproxy: return Format::Haproxy;
    case config::LogFormat::Envoy: return Format::Envoy;
    case config::LogFormat::JavaGc: return Format::JavaGc;
    case config::LogFormat::Csv: return Format::Csv;
    case config::LogFormat::Ltsv: return Format::Ltsv;
    case config::LogFormat::KeyValue: return Format::KeyValue;
    case config::LogFormat::Pattern: return Format::Pattern;
    case config::LogFormat::Regex: return Format::Regex;
  }
  return Format::Raw;
}

Result<void> set_pattern(const config::LogInput& input, EncoderOptions& options) {
  const bool wants_one = options.format == Format::Pattern || options.format == Format::Regex ||
                         options.format == Format::Csv;
  if (!wants_one) return {};
  const std::string name(config::name_of(input.format));
  if (!input.pattern) {
    return fail("format \"" + name + "\" needs `pattern`" +
                (options.format == Format::Csv ? ", the columns: \"time,level,message\"" : ""));
  }
  if (options.format == Format::Pattern) {
    auto layout = Layout::compile(*input.pattern);
    if (!layout) return fail(layout.error().wrap("pattern"));
    options.layout = std::make_shared<const Layout>(std::move(*layout));
  } else if (options.format == Format::Regex) {
    auto regex = RegexFormat::compile(*input.pattern);
    if (!regex) return fail(regex.error().wrap("pattern"));
    options.regex = std::move(*regex);
  } else {
    auto columns = columns_of(*input.pattern);
    if (!columns) return fail(columns.error().wrap("pattern"));
    options.columns = std::move(*columns);
  }
  return {};
}

Result<void> set_groups(const config::LogInput& input, EncoderOptions& options) {
  const config::MultilineRules& source = input.multiline;
  const bool is_by_pattern = source.preset == config::Multiline::Pattern;
  if (is_by_pattern != source.start.has_value()) {
    return fail(is_by_pattern ? "multiline: preset \"pattern\" needs `start`, a regular expression "
                                "that a record's first line matches"
                              : "multiline: `start` is for preset \"pattern\"");
  }
  if (source.preset == config::Multiline::None) return {};
  GroupRules rules;
  rules.preset = preset_of(source.preset);
  rules.lines_max = source.max_lines;
  rules.bytes_max = source.max_size.value;
  if (is_by_pattern) {
    auto start = RegexFormat::compile(*source.start, false);
    if (!start) return fail(start.error().wrap("multiline.start"));
    rules.start = std::move(*start);
  }
  options.groups = std::move(rules);
  return {};
}

}  // namespace pillion::logs
