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

#include "adapters/logs/input_format.h"
#include "adapters/logs/output/make_output.h"
#include "adapters/logs/output/otlp.h"

namespace pillion::logs {
namespace {

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
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

// Of the whole service.
std::string service_state(const std::string& service) {
  std::string parent = environment("PILLION_STATE_DIR");
  if (parent.empty()) parent = "/var/lib/pillion";
  return parent + "/" + (service.empty() ? "default" : service);
}

std::string wanted_state_directory(const std::string& service, const std::string& child) {
  return service_state(service) + "/logs" + (child.empty() ? "" : "/" + child);
}

void choose_state_directory(Surroundings& surroundings) {
  const std::string wanted = wanted_state_directory(surroundings.service, surroundings.child);
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
  for (const auto& [key, variable] : config.fields.add_from_env) {
    envelope.add(key, environment(variable.c_str()));
  }
  if (input->child) envelope.add("pillion.child", *input->child);
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

// What we add ourselves, or the configuration does: no extracted field.
OwnNames own_names(const config::LogsConfig& config) {
  OwnNames names;
  for (const auto& [key, value] : config.fields.add) names.insert(key);
  for (const auto& [key, variable] : config.fields.add_from_env) names.insert(key);
  for (const auto& input : config.inputs) {
    for (const auto& [key, value] : input.fields) names.insert(key);
  }
  return names;
}

FieldRulesOptions field_rules_of(const config::FieldRules& source) {
  FieldRulesOptions options;
  options.rename = source.rename;
  options.drop = source.drop;
  options.keep = source.keep;
  options.redact = source.redact;
  options.hash = source.hash;
  for (const auto& [name, type] : source.convert) options.convert[name] = conversion_of(type);
  options.has_trace_ids = source.trace_ids;
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
  options.field_rules.has_labels = config.fields.labels == config::Labels::Always;
  options.field_rules.own_names = own_names(config);
  return options;
}

// Where the fingerprints of issued secrets are.
std::vector<std::string> issued_paths(const config::LogsConfig& config) {
  if (!config.fields.redact_issued.empty()) return config.fields.redact_issued;
  const std::string directory = environment("PILLION_ISSUED_DIR");
  return directory.empty() ? std::vector<std::string>() : std::vector<std::string>{directory};
}

std::string spool_path(std::size_t index, const Surroundings& surroundings) {
  return fmt::format("{}/input-{}.spool", surroundings.state_directory, index + 1);
}

std::string followed_path(const config::LogInput& input, std::size_t index,
                          const Surroundings& surroundings) {
  if (is_received(input)) return spool_path(index, surroundings);
  return input.file ? *input.file : surroundings.log_directory + "/" + *input.child + ".log";
}

// What the ledger calls an input.
std::string input_name(const config::LogInput& input) {
  if (input.file) return *input.file;
  if (input.child) return "child " + *input.child;
  if (input.fifo) return "fifo " + *input.fifo;
  if (input.syslog) return "syslog " + input.syslog->to_string();
  if (input.journald) {
    const auto& directory = input.journald->directory;
    return directory ? "journal " + *directory : "journal";
  }
  return input.syslog_socket ? "syslog " + *input.syslog_socket : "stdin";
}

JournalOptions journal_options(const config::LogInput& input, std::size_t index) {
  JournalOptions options;
  options.input = index;
  options.name = input_name(input);
  options.directory = input.journald->directory.value_or("");
  options.units = input.journald->units;
  options.match = input.journald->match;
  options.starts_at_end = input.start_at == config::StartAt::End;
  options.value_bytes_max = input.max_line.value;
  return options;
}

// How soon a segment of a spool is closed after its last line.
constexpr Duration kSpoolWait = std::chrono::milliseconds(100);

FollowerOptions follower_options(const config::LogsConfig& config, std::size_t index,
                                 const Surroundings& surroundings,
                                 const std::optional<ElasticsearchOptions>& bulk,
                                 const std::shared_ptr<RecordFilter>& filter) {
  const config::LogInput& input = config.inputs[index];
  FollowerOptions options;
  options.input = index;
  options.pattern = followed_path(input, index, surroundings);
  options.exclude = input.exclude;
  options.starts_at_end = input.start_at == config::StartAt::End;
  options.discover_interval = input.discover_interval;
  options.rotate_wait = is_received(input) ? kSpoolWait : input.rotate_wait;
  options.partial_line_timeout = input.partial_line_timeout;
  options.encoding = input.encoding;
  if (!surroundings.state_directory.empty()) {
    options.temporary_directory = surroundings.state_directory;
  }
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

// How programs spell the ids of W3C Trace Context, OpenTelemetry, Zipkin and Datadog.
constexpr const char* kTraceNames[] = {"trace_id",    "traceId",      "traceid",
                                       "traceID",     "trace-id",     "otelTraceID",
                                       "dd.trace_id", "X-B3-TraceId", "x-b3-traceid"};
constexpr const char* kSpanNames[] = {"span_id",    "spanId",      "spanid",
                                      "spanID",     "span-id",     "otelSpanID",
                                      "dd.span_id", "X-B3-SpanId", "x-b3-spanid"};

// `config` with the renames that `names` and `trace_ids` stand for. Receivers with a form of their
// own (Loki, OTLP, syslog) know the fields by their ECS names.
config::LogsConfig with_names_of(const config::LogsConfig& config,
                                 const config::LogOutput& output) {
  config::LogsConfig named = config;
  if (config.fields.trace_ids) {
    for (const char* name : kTraceNames) named.fields.rename.try_emplace(name, "trace.id");
    for (const char* name : kSpanNames) named.fields.rename.try_emplace(name, "span.id");
  }
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

// Empty when none is kept.
std::string checkpoint_path(const config::LogsConfig& config, std::size_t index,
                            const std::string& state_directory) {
  const std::string name = output_state_name(outputs_of(config)[index], index);
  if (config.checkpoint.path) {
    return index == 0 ? *config.checkpoint.path : *config.checkpoint.path + "." + name;
  }
  return state_directory.empty() ? "" : state_directory + "/" + name + ".checkpoint";
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
  if (input.journald) {
    if (const auto done = check_journal(journal_options(input, 0)); !done) {
      problems.push_back(name + ": " + done.error().message());
    }
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
  for (const auto& [key, variable] : fields.add_from_env) {
    if (std::getenv(variable.c_str()) == nullptr) {
      problems.push_back(
          fmt::format("fields.add_from_env: \"{}\" is not in the environment (the "
                      "child's `env` or `inherit_env` can give it)",
                      variable));
    }
  }
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
  if (const auto known = IssuedRedaction(issued_paths(config)).refresh(); !known) {
    problems.push_back("fields.redact_issued: " + known.error().message());
  }
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
  std::shared_ptr<IssuedRedaction> issued;
  if (auto paths = issued_paths(config); !paths.empty()) {
    issued = std::make_shared<IssuedRedaction>(std::move(paths));
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const config::LogOutput& output = outputs[i];
    const std::string name = output_state_name(output, i);
    const std::string state_prefix = surroundings.state_directory + "/" + name;
    std::optional<ElasticsearchOptions> bulk;
    if (output.elasticsearch) bulk = elasticsearch_options(*output.elasticsearch);
    std::optional<OwnNames> healing;
    if (config.fields.labels == config::Labels::OnConflict) healing = own_names(config);
    const auto filter = make_filter(output.filter).value();  // checked by find_problems()
    const config::LogsConfig named = with_names_of(config, output);

    PipelineOptions options;
    options.in_flight_bytes_max = config.buffer.value / outputs.size();
    options.issued = issued;
    options.checkpoint_interval = config.checkpoint.interval;
    options.checkpoint_path = checkpoint_path(config, i, surroundings.state_directory);
    for (std::size_t k = 0; k < config.inputs.size(); ++k) {
      const config::LogInput& input = config.inputs[k];
      options.input_names.push_back(input_name(input));
      if (input.from_stdin) {
        options.stream_input = k;
        EncoderOptions own = encoder_options(named, input, surroundings);
        own.filter = filter;
        if (bulk) set_bulk_action(own.envelope, *bulk);
        options.make_stream_encoder = [own] { return Encoder(own); };
      } else if (input.journald) {
        EncoderOptions own = encoder_options(named, input, surroundings);
        own.format = Format::Json;  // as JournalEntry writes it
        own.filter = filter;
        if (bulk) set_bulk_action(own.envelope, *bulk);
        options.journals.push_back(journal_options(input, k));
        options.journals.back().make_encoder = [own] { return Encoder(own); };
      } else {
        options.followers.push_back(follower_options(named, k, surroundings, bulk, filter));
        if (i > 0) options.followers.back().event_level = log::Level::Debug;
      }
    }
    pipelines.push_back(
        std::make_unique<Pipeline>(loop, clock, std::move(options), [&](Output::OnDone on_done) {
          return make_output(loop, clock, output, state_prefix, std::move(on_done), healing);
        }));
  }
  return pipelines;
}

std::vector<std::string> checkpoint_candidates(const config::LogsConfig& config, std::size_t index,
                                               const std::string& service,
                                               const std::string& child) {
  std::vector<std::string> directories{wanted_state_directory(service, child)};
  if (!child.empty()) directories.push_back(service_state(service) + "/children/" + child);
  const std::string offered = environment("STATE_DIRECTORY");
  if (!offered.empty()) directories.push_back(offered);
  std::vector<std::string> paths;
  for (const std::string& directory : directories) {
    std::string path = checkpoint_path(config, index, directory);
    if (paths.empty() || paths.back() != path) paths.push_back(std::move(path));
  }
  return paths;
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
