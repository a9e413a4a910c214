#include "adapters/logs/output/make_output.h"

#include <unistd.h>

#include <utility>

#include <fmt/format.h>

#include "adapters/logs/output/file_output.h"
#include "adapters/logs/output/http_output.h"
#include "adapters/logs/output/kafka_output.h"
#include "adapters/logs/output/loki.h"
#include "adapters/logs/output/ndjson.h"
#include "adapters/logs/output/otlp.h"
#include "adapters/logs/output/s3.h"
#include "adapters/logs/output/statsd_output.h"
#include "adapters/logs/output/stdout_output.h"
#include "adapters/logs/output/syslog_output.h"

namespace pillion::logs {
namespace {

std::string without_final_slashes(std::string url) {
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url;
}

HttpClient::Headers headers_of(const std::map<std::string, std::string>& source) {
  HttpClient::Headers headers;
  for (const auto& [name, value] : source) headers.push_back({name, value});
  return headers;
}

Coding coding_of(config::Compression compression) {
  return compression == config::Compression::Zstd ? Coding::Zstd : Coding::Gzip;
}

// What the tables of all HTTP outputs have in common.
template<class Source>
HttpOutputOptions http_options(const config::LogOutput& output, const Source& source,
                               const std::string& state_prefix) {
  HttpOutputOptions options;
  options.dead_letter_path = source.dead_letter.value_or(state_prefix + ".dead-letter.ndjson");
  options.tls.ca_file = source.tls.ca_file.value_or("");
  options.tls.certificate_file = source.tls.certificate_file.value_or("");
  options.tls.key_file = source.tls.key_file.value_or("");
  options.tls.is_peer_verified = source.tls.verify;
  if constexpr (requires { source.auth; }) {
    options.user = source.auth.user.value_or("");
    options.password_file = source.auth.password_file.value_or("");
    options.api_key_file = source.auth.api_key_file.value_or("");
    options.bearer_file = source.auth.bearer_file.value_or("");
  }
  options.coding = source.compress ? Coding::Gzip : Coding::None;
  if constexpr (requires { source.compression; }) {
    if (source.compress) options.coding = coding_of(source.compression);
  }
  if (output.s3) options.coding = Coding::None;  // the object itself is compressed
  options.timeout = source.timeout;
  options.backoff_base = output.retry.base;
  options.backoff_max = output.retry.max;
  options.batch_bytes = output.batch.max_size.value;
  options.batch_records = output.batch.max_records;
  options.batch_wait = output.batch.max_wait;
  return options;
}

Result<S3Options> s3_options(const config::S3Output& source) {
  S3Options options;
  options.url = without_final_slashes(source.url);
  options.bucket = source.bucket;
  options.region = source.region;
  options.has_path_style = source.path_style;
  options.access_key_file = source.access_key_file;
  options.secret_key_file = source.secret_key_file;
  options.session_token_file = source.session_token_file.value_or("");
  options.coding = source.compress ? coding_of(source.compression) : Coding::None;
  auto key = RecordTemplate::compile(source.key, true);
  if (!key) return fail(key.error().wrap("s3: key"));
  if (!key->has_id()) {
    return fail("s3: key needs %{id}, or objects of the same time would replace each other");
  }
  options.key = std::move(*key);
  return options;
}

std::unique_ptr<HttpDialect> dialect_of(const config::LogOutput& output,
                                        const std::optional<OwnNames>& healing) {
  if (output.elasticsearch) {
    ElasticsearchOptions options = elasticsearch_options(*output.elasticsearch);
    options.heals_conflicts = healing.has_value();
    options.own_names = healing.value_or(OwnNames());
    return make_elasticsearch_dialect(std::move(options));
  }
  if (output.loki) {
    return make_loki_dialect({without_final_slashes(output.loki->url),
                              output.loki->tenant.value_or(""), output.loki->labels});
  }
  if (output.otlp) {
    return make_otlp_dialect({without_final_slashes(output.otlp->url),
                              headers_of(output.otlp->headers),
                              output.otlp->encoding == config::OtlpEncoding::Protobuf});
  }
  if (output.s3) return make_s3_dialect(s3_options(*output.s3).value());  // checked before
  return make_ndjson_dialect({output.http->url, headers_of(output.http->headers),
                              output.http->body == config::HttpBody::Json});
}

void add_kafka_security(const config::KafkaOutput& source, KafkaOptions& options) {
  const auto set = [&](const char* name, const std::string& value) {
    if (!value.empty()) options.settings.emplace_back(name, value);
  };
  if (source.tls) {
    set("ssl.ca.location", source.tls->ca_file.value_or(""));
    set("ssl.certificate.location", source.tls->certificate_file.value_or(""));
    set("ssl.key.location", source.tls->key_file.value_or(""));
    set("enable.ssl.certificate.verification", source.tls->verify ? "true" : "false");
    set("ssl.endpoint.identification.algorithm", source.tls->verify ? "https" : "none");
  }
  if (source.sasl) {
    set("sasl.mechanism", std::string(config::name_of(source.sasl->mechanism)));
    set("sasl.username", source.sasl->user);
    options.password_file = source.sasl->password_file;
  }
  const std::string transport = source.tls ? "ssl" : "plaintext";
  set("security.protocol", source.sasl ? "sasl_" + transport : transport);
}

Result<KafkaOptions> kafka_options(const config::LogOutput& output,
                                   const std::string& state_prefix) {
  const config::KafkaOutput& source = *output.kafka;
  KafkaOptions options;
  for (const std::string& broker : source.brokers) {
    options.brokers += (options.brokers.empty() ? "" : ",") + broker;
  }
  auto topic = RecordTemplate::compile(source.topic, false);
  if (!topic) return fail(topic.error().wrap("kafka: topic"));
  options.topic = std::move(*topic);
  auto key = RecordTemplate::compile(source.key.value_or(""), false);
  if (!key) return fail(key.error().wrap("kafka: key"));
  options.key = std::move(*key);
  options.has_key = source.key.has_value();
  options.settings = {{"compression.codec", std::string(config::name_of(source.compression))},
                      {"message.timeout.ms", std::to_string(source.timeout.count())}};
  add_kafka_security(source, options);
  options.settings.insert(options.settings.end(), source.settings.begin(), source.settings.end());
  options.dead_letter_path = source.dead_letter.value_or(state_prefix + ".dead-letter.ndjson");
  options.backoff = output.retry.base;
  options.batch_bytes = output.batch.max_size.value;
  options.batch_records = output.batch.max_records;
  options.batch_wait = output.batch.max_wait;
  return options;
}

FileOutputOptions file_options(const config::FileOutput& source) {
  FileOutputOptions options;
  options.path = source.path;
  options.bytes_max = source.max_size.value;
  options.files_max = source.max_files;
  options.mode = source.mode.value;
  return options;
}

SyslogOptions syslog_options(const config::LogOutput& output) {
  const config::SyslogOutput& source = *output.syslog;
  SyslogOptions options;
  options.host = source.address.host;
  options.port = source.address.port;
  options.is_udp = source.transport == config::Transport::Udp;
  options.line.facility = source.facility;
  options.backoff_base = output.retry.base;
  options.backoff_max = output.retry.max;
  if (!source.tls) return options;
  options.has_tls = true;
  options.ca_file = source.tls->ca_file.value_or("");
  options.certificate_file = source.tls->certificate_file.value_or("");
  options.key_file = source.tls->key_file.value_or("");
  options.is_peer_verified = source.tls->verify;
  return options;
}

const char* kind_of(const config::LogOutput& output) {
  return output.file            ? "file"
         : output.elasticsearch ? "elasticsearch"
         : output.loki          ? "loki"
         : output.otlp          ? "otlp"
         : output.syslog        ? "syslog"
         : output.http          ? "http"
         : output.statsd        ? "statsd"
         : output.kafka         ? "kafka"
         : output.s3            ? "s3"
                                : "stdout";
}

}  // namespace

ElasticsearchOptions elasticsearch_options(const config::ElasticsearchOutput& source) {
  ElasticsearchOptions options;
  options.url = without_final_slashes(source.url);
  options.index = source.index;
  options.operation = source.operation == config::BulkOperation::Create ? "create" : "index";
  options.has_own_id = source.document_id;
  options.pipeline = source.pipeline.value_or("");
  return options;
}

std::unique_ptr<Output> make_output(Loop& loop, const Clock& clock, const config::LogOutput& output,
                                    const std::string& state_prefix, Output::OnDone on_done,
                                    const std::optional<OwnNames>& healing) {
  const auto over_http = [&](const auto& source) {
    return std::make_unique<HttpOutput>(loop, clock, http_options(output, source, state_prefix),
                                        dialect_of(output, healing), std::move(on_done));
  };
  if (output.elasticsearch) return over_http(*output.elasticsearch);
  if (output.loki) return over_http(*output.loki);
  if (output.otlp) return over_http(*output.otlp);
  if (output.http) return over_http(*output.http);
  if (output.s3) return over_http(*output.s3);
  if (output.kafka) {
    return std::make_unique<KafkaOutput>(loop, clock, kafka_options(output, state_prefix).value(),
                                         std::move(on_done));  // checked by output_problem()
  }
  if (output.syslog) {
    return std::make_unique<SyslogOutput>(loop, syslog_options(output), std::move(on_done));
  }
  if (output.statsd) {
    auto lines = StatsdLines::compile(output.statsd->metrics);
    PILLION_ASSERT(lines.has_value());  // output_problem() has looked
    return std::make_unique<StatsdOutput>(loop, output, std::move(*lines), std::move(on_done));
  }
  if (output.file) {
    return std::make_unique<FileOutput>(loop, file_options(*output.file), std::move(on_done));
  }
  return std::make_unique<StdoutOutput>(
      loop, STDOUT_FILENO, output.to_stdout && output.to_stdout->pretty, std::move(on_done));
}

std::string output_state_name(const config::LogOutput& output, std::size_t index) {
  return index == 0 ? kind_of(output) : fmt::format("{}-{}", kind_of(output), index + 1);
}

Result<std::shared_ptr<RecordFilter>> make_filter(const config::LogFilter& source) {
  RecordFilterOptions options;
  options.min_level = source.min_level.value_or("");
  if (!options.min_level.empty() && severity_number(options.min_level) == 0) {
    return fail("min_level: there is no level \"" + options.min_level + "\"");
  }
  const auto compile = [](const auto& from, auto& to, const char* key) -> Result<void> {
    for (const auto& [field, expression] : from) {
      auto compiled = RegexFormat::compile(expression, false);
      if (!compiled) return fail(compiled.error().wrap(fmt::format("{}.\"{}\"", key, field)));
      to[field] = std::move(*compiled);
    }
    return {};
  };
  auto done = compile(source.match, options.match, "match");
  if (done) done = compile(source.exclude, options.exclude, "exclude");
  if (!done) return fail(done.error());
  options.sample = source.sample;
  options.rate_limit = source.rate_limit;
  options.deduplicate = source.deduplicate;
  std::shared_ptr<RecordFilter> filter;
  if (!options.is_empty()) filter = std::make_shared<RecordFilter>(std::move(options));
  return filter;
}

std::optional<std::string> output_problem(const config::LogOutput& output,
                                          bool has_state_directory) {
  if (output.s3) {
    if (const auto options = s3_options(*output.s3); !options) return options.error().message();
  }
  if (output.kafka) {
    auto options = kafka_options(output, "");
    const auto checked = options ? check_kafka(*options) : Result<void>(fail(options.error()));
    if (!checked) return checked.error().message();
  }
  if (output.syslog && output.syslog->tls && output.syslog->transport == config::Transport::Udp) {
    return "syslog: TLS goes over TCP; leave out `transport`";
  }
  if (output.statsd) {
    const auto lines = StatsdLines::compile(output.statsd->metrics);
    if (!lines) return "statsd: " + lines.error().message();
  }
  if (const auto filter = make_filter(output.filter); !filter) {
    return "filter: " + filter.error().message();
  }
  const auto lacks_dead_letter = [&](const auto& source) {
    return source && !source->dead_letter && !has_state_directory;
  };
  if (lacks_dead_letter(output.elasticsearch) || lacks_dead_letter(output.loki) ||
      lacks_dead_letter(output.otlp) || lacks_dead_letter(output.http) ||
      lacks_dead_letter(output.kafka) || lacks_dead_letter(output.s3)) {
    return "no directory is writable for dead letters; set `dead_letter`";
  }
  return std::nullopt;
}

}  // namespace pillion::logs
