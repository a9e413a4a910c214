#include "adapters/logs/wiring.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "adapters/logs/encode/layout.h"
#include "adapters/logs/encode/regex_format.h"
#include "adapters/logs/output/make_output.h"
#include "adapters/logs/output/otlp.h"

namespace pillion::logs {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

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

// What `pattern` says for the formats that have one.
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

// What `multiline` says.
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

bool is_received(const config::LogInput& input) {
  return input.fifo || input.syslog || input.syslog_socket;
}

// Creates `path` when it can be; empty when it cannot be written to.
bool is_writable_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return ::access(path.c_str(), W_OK | X_OK) == 0;
}

void choose_state_directory(Surroundings& surroundings) {
  std::string parent = environment("PILLION_STATE_DIR");
  if (parent.empty()) parent = "/var/lib/pillion";
  const std::string service = surroundings.service.empty() ? "default" : surroundings.service;
  const std::string wanted = parent + "/" + service + "/logs" +
                             (surroundings.child.empty() ? "" : "/" + surroundings.child);
  if (is_writable_directory(wanted)) {
    surroundings.state_directory = wanted;
    return;
  }
  const std::string offered = environment("STATE_DIRECTORY");
  if (!offered.empty() && is_writable_directory(offered)) {
    surroundings.state_directory = offered;
    surroundings.remarks.push_back("cannot write to " + wanted + "; checkpoints go to " + offered +
                                   " ($STATE_DIRECTORY)");
    return;
  }
  surroundings.remarks.push_back("cannot write to " + wanted +
                                 ": no checkpoint is kept, so files are read from their start at "
                                 "the next start and records repeat; set checkpoint.path or "
                                 "$STATE_DIRECTORY to a writable place");
}

Envelope envelope_of(const config::LogsConfig& config, const config::LogInput* input,
                     const Surroundings& surroundings, const std::string& path) {
  Envelope envelope;
  const auto add_source = [&](config::SourceField field, const std::string& value) {
    const auto& wanted = config.fields.source;
    if (!value.empty() && std::find(wanted.begin(), wanted.end(), field) != wanted.end())
      envelope.add(config::name_of(field), value);
  };
  add_source(config::SourceField::Service, surroundings.service);
  add_source(config::SourceField::Host, surroundings.host_name);
  add_source(config::SourceField::File, path);
  for (const auto& [key, value] : config.fields.add) envelope.add(key, value);
  for (const auto& [key, value] : input->fields) envelope.add(key, value);
  envelope.has_original = config.fields.keep_original;
  return envelope;
}

Conversion conversion_of(config::FieldType type) {
  switch (type) {
    case config::FieldType::Integer: return Conversion::Integer;
    case config::FieldType::Float: return Conversion::Float;
    case config::FieldType::Boolean: return Conversion::Boolean;
    case config::FieldType::String: break;
  }
  return Conversion::String;
}

FieldRulesOptions field_rules_of(const config::FieldRules& source) {
  FieldRulesOptions options;
  options.rename = source.rename;
  options.drop = source.drop;
  options.keep = source.keep;
  options.redact = source.redact;
  options.hash = source.hash;
  for (const auto& [name, type] : source.convert) options.convert[name] = conversion_of(type);
  if (!source.redact_text.empty()) {
    auto compiled = TextRedaction::compile(source.redact_text);
    if (compiled) options.text_redaction = std::move(*compiled);  // find_problems() told, else
  }
  if (source.hash_key_file) {
    if (auto key = read_file(*source.hash_key_file, 64u << 10)) options.hash_key = std::move(*key);
  }
  return options;
}

EncoderOptions encoder_options(const config::LogsConfig& config, const config::LogInput& input,
                               const Surroundings& surroundings) {
  EncoderOptions options;
  options.format = format_of(input.format);
  static_cast<void>(set_pattern(input, options));  // find_problems() told what is wrong with it
  static_cast<void>(set_groups(input, options));
  options.is_docker = input.framing == config::Framing::Docker && !input.child;
  options.is_cri = input.framing == config::Framing::Cri || input.child.has_value();
  options.zone = TimeZone::load(input.timezone).value_or(TimeZone::utc());
  options.line_bytes_max = input.max_line.value;
  options.envelope = envelope_of(config, &input, surroundings, "");
  options.field_rules = field_rules_of(config.fields);
  return options;
}

std::string spool_path(std::size_t index, const Surroundings& surroundings) {
  return fmt::format("{}/input-{}.spool", surroundings.state_directory, index + 1);
}

std::string followed_path(const config::LogInput& input, std::size_t index,
                          const Surroundings& surroundings) {
  if (is_received(input)) return spool_path(index, surroundings);
  return input.file ? *input.file : surroundings.log_directory + "/" + *input.child + ".log";
}

// How soon a segment of a spool is closed after its last line.
constexpr Duration kSpoolWait = std::chrono::milliseconds(100);

FollowerOptions follower_options(const config::LogsConfig& config, std::size_t index,
                                 const Surroundings& surroundings,
                                 const std::optional<ElasticsearchOptions>& bulk,
                                 const std::shared_ptr<RecordFilter>& filter) {
  const config::LogInput& input = config.inputs[index];
  FollowerOptions options;
  options.pattern = followed_path(input, index, surroundings);
  options.exclude = input.exclude;
  options.starts_at_end = input.start_at == config::StartAt::End;
  options.rotate_wait = is_received(input) ? kSpoolWait : input.rotate_wait;
  options.partial_line_timeout = input.partial_line_timeout;
  options.encoding = input.encoding;
  options.line_bytes_max = input.max_line.value;
  if (input.multiline.preset != config::Multiline::None) {
    options.group_timeout = input.multiline.timeout;
    // A group must fit in what is read at once, and a byte more to see that it ends.
    options.line_bytes_max =
        std::max<std::size_t>(options.line_bytes_max, input.multiline.max_size.value + 1);
  }
  EncoderOptions base = encoder_options(config, input, surroundings);
  base.filter = filter;
  options.make_encoder = [base, bulk, config, input, surroundings](const std::string& path) {
    EncoderOptions own = base;
    own.envelope = envelope_of(config, &input, surroundings, is_received(input) ? "" : path);
    if (bulk) set_bulk_action(own.envelope, *bulk);
    return Encoder(std::move(own));
  };
  return options;
}

// `config` with the renames that `names` stands for. Receivers with a form of their own (Loki,
// OTLP, syslog) know the fields by their ECS names.
config::LogsConfig with_names_of(const config::LogsConfig& config,
                                 const config::LogOutput& output) {
  config::LogsConfig named = config;
  if (config.fields.names != config::FieldNames::Otel || output.loki || output.otlp ||
      output.syslog) {
    return named;
  }
  for (const auto& [ecs, otel] : otel_names()) {
    named.fields.rename.try_emplace(std::string(ecs), std::string(otel));
  }
  return named;
}

std::vector<config::LogOutput> outputs_of(const config::LogsConfig& config) {
  if (!config.outputs.empty()) return config.outputs;
  config::LogOutput to_stdout;
  to_stdout.to_stdout.emplace();
  return {to_stdout};
}

void check_input(const config::LogInput& input, const std::string& name,
                 const Surroundings& surroundings, std::vector<std::string>& problems) {
  if (is_received(input) && surroundings.state_directory.empty()) {
    problems.push_back(name +
                       ": what is received waits on disk, and no directory is writable for it; set "
                       "$PILLION_STATE_DIR or $STATE_DIRECTORY");
  }
  EncoderOptions options;
  options.format = format_of(input.format);
  if (const auto done = set_pattern(input, options); !done) {
    problems.push_back(name + ": " + done.error().message());
  }
  if (Transcoder::is_needed(input.encoding)) {
    if (!input.file || input.framing != config::Framing::Lines) {
      problems.push_back(name + ": `encoding` is for `file` with framing \"lines\"");
    }
    const auto transcoder = Transcoder::open(input.encoding);
    if (!transcoder) problems.push_back(name + ": " + transcoder.error().message());
  }
  if (const auto done = set_groups(input, options); !done) {
    problems.push_back(name + ": " + done.error().message());
  }
  if (const auto zone = TimeZone::load(input.timezone); !zone) {
    problems.push_back(name + ": " + zone.error().message());
  }
}

// What `rename`, `drop`, `keep` and `redact` cannot do, or would do otherwise than it looks.
void check_fields(const config::FieldRules& fields, std::vector<std::string>& problems) {
  for (const auto& [from, to] : fields.rename) {
    if (to.empty() || to.size() > kKeyBytesMax) {
      problems.push_back(
          fmt::format("fields.rename: \"{}\" needs a name of 1 to {} bytes", from, kKeyBytesMax));
    }
    if (to == "@timestamp" || to == "log.level") {
      problems.push_back("fields.rename: \"" + from + "\" cannot become " + to +
                         ", which has a form of its own; name the field so in `pattern`");
    }
  }
  const auto check_list = [&](const char* key, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const auto renamed = fields.rename.find(name);
      const bool is_target = std::any_of(fields.rename.begin(), fields.rename.end(),
                                         [&](const auto& entry) { return entry.second == name; });
      if (renamed != fields.rename.end() && !is_target) {
        problems.push_back(fmt::format("fields.{}: \"{}\" is renamed before; say \"{}\"", key, name,
                                       renamed->second));
      }
      if (name == "@timestamp" && key != std::string_view("keep")) {
        problems.push_back(fmt::format("fields.{}: every record has its @timestamp", key));
      }
    }
  };
  check_list("drop", fields.drop);
  check_list("keep", fields.keep);
  check_list("redact", fields.redact);
  check_list("hash", fields.hash);
  if (const auto compiled = TextRedaction::compile(fields.redact_text); !compiled) {
    problems.push_back("fields.redact_text: " + compiled.error().message());
  }
  if (fields.hash_key_file) {
    const auto key = read_file(*fields.hash_key_file, 64u << 10);
    if (!key || key->empty()) {
      problems.push_back("fields.hash_key_file: " +
                         (key ? *fields.hash_key_file + " is empty" : key.error().message()));
    }
  }
  const auto names_original = [](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), "event.original") != names.end();
  };
  if (fields.keep_original && !fields.redact.empty() && !names_original(fields.redact) &&
      !names_original(fields.drop)) {
    problems.push_back("fields: `keep_original` would show what `redact` hides");
  }
}

std::string service_name(const config::LogsConfig& config) {
  const std::string given = environment("PILLION_SERVICE");
  return given.empty() ? config.service : given;
}

std::string this_host() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  return host;
}

}  // namespace

Surroundings Surroundings::of_process(const config::LogsConfig& config) {
  Surroundings result;
  result.service = service_name(config);
  result.child = environment("PILLION_CHILD");
  result.host_name = this_host();
  std::string logs = environment("PILLION_LOG_DIR");
  if (logs.empty()) logs = "/var/log/pillion";
  result.log_directory = logs + "/" + result.service;
  choose_state_directory(result);
  return result;
}

std::vector<std::string> find_problems(const config::LogsConfig& config,
                                       const Surroundings& surroundings) {
  std::vector<std::string> problems;
  if (config.inputs.empty()) problems.push_back("no [[input]]: say what to read");
  std::size_t streams = 0;
  for (std::size_t i = 0; i < config.inputs.size(); ++i) {
    check_input(config.inputs[i], fmt::format("input {}", i + 1), surroundings, problems);
    streams += config.inputs[i].from_stdin;
  }
  if (streams > 1) problems.push_back("standard input can be read by one [[input]] only");
  for (std::size_t i = 0; i < config.outputs.size(); ++i) {
    if (const auto problem =
            output_problem(config.outputs[i], !surroundings.state_directory.empty())) {
      problems.push_back(fmt::format("output {}: {}", i + 1, *problem));
    }
  }
  check_fields(config.fields, problems);
  return problems;
}

Result<EncoderOptions> inspection_options(const config::LogsConfig& config, std::size_t index) {
  if (index >= config.inputs.size()) {
    return fail(fmt::format("there is no input {}: the configuration has {} [[input]]", index + 1,
                            config.inputs.size()));
  }
  std::vector<std::string> problems;
  Surroundings surroundings;
  surroundings.state_directory = "/";  // nothing is written
  check_input(config.inputs[index], fmt::format("input {}", index + 1), surroundings, problems);
  check_fields(config.fields, problems);
  if (!problems.empty()) return fail(problems.front());
  surroundings.service = service_name(config);
  surroundings.host_name = this_host();
  return encoder_options(config, config.inputs[index], surroundings);
}

std::vector<std::unique_ptr<Pipeline>> make_pipelines(Loop& loop, const Clock& clock,
                                                      const config::LogsConfig& config,
                                                      const Surroundings& surroundings) {
  std::vector<std::unique_ptr<Pipeline>> pipelines;
  const auto outputs = outputs_of(config);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const config::LogOutput& output = outputs[i];
    const std::string name = output_state_name(output, i);
    const std::string state_prefix = surroundings.state_directory + "/" + name;
    std::optional<ElasticsearchOptions> bulk;
    if (output.elasticsearch) bulk = elasticsearch_options(*output.elasticsearch);
    const auto filter = make_filter(output.filter).value();  // checked by find_problems()
    const config::LogsConfig named = with_names_of(config, output);

    PipelineOptions options;
    options.in_flight_bytes_max = config.buffer.value / outputs.size();
    options.checkpoint_interval = config.checkpoint.interval;
    if (config.checkpoint.path) {
      options.checkpoint_path =
          i == 0 ? *config.checkpoint.path : *config.checkpoint.path + "." + name;
    } else if (!surroundings.state_directory.empty()) {
      options.checkpoint_path = state_prefix + ".checkpoint";
    }
    for (std::size_t k = 0; k < config.inputs.size(); ++k) {
      const config::LogInput& input = config.inputs[k];
      if (input.from_stdin) {
        EncoderOptions own = encoder_options(named, input, surroundings);
        own.filter = filter;
        if (bulk) set_bulk_action(own.envelope, *bulk);
        options.make_stream_encoder = [own] { return Encoder(own); };
      } else {
        options.followers.push_back(follower_options(named, k, surroundings, bulk, filter));
        if (i > 0) options.followers.back().event_level = log::Level::Debug;
      }
    }
    pipelines.push_back(
        std::make_unique<Pipeline>(loop, clock, std::move(options), [&](Output::OnDone on_done) {
          return make_output(loop, clock, output, state_prefix, std::move(on_done));
        }));
  }
  return pipelines;
}

std::vector<std::unique_ptr<Receiver>> make_receivers(Loop& loop, const config::LogsConfig& config,
                                                      const Surroundings& surroundings) {
  std::vector<std::unique_ptr<Receiver>> receivers;
  for (std::size_t i = 0; i < config.inputs.size(); ++i) {
    const config::LogInput& input = config.inputs[i];
    if (!is_received(input)) continue;
    ReceiverOptions options;
    options.fifo = input.fifo.value_or("");
    options.socket_path = input.syslog_socket.value_or("");
    if (input.syslog) {
      options.address = input.syslog->ip.to_string();
      options.port = input.syslog->port;
    }
    options.spool_path = spool_path(i, surroundings);
    options.spool_bytes_max = input.spool.value;
    options.message_bytes_max = input.max_line.value;
    receivers.push_back(std::make_unique<Receiver>(loop, std::move(options)));
  }
  return receivers;
}

}  // namespace pillion::logs
