#include "adapters/logs/output/make_output.h"

#include <unistd.h>

#include <utility>

#include <fmt/format.h>

#include "adapters/logs/output/file_output.h"
#include "adapters/logs/output/http_output.h"
#include "adapters/logs/output/loki.h"
#include "adapters/logs/output/ndjson.h"
#include "adapters/logs/output/otlp.h"
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
  options.user = source.auth.user.value_or("");
  options.password_file = source.auth.password_file.value_or("");
  options.api_key_file = source.auth.api_key_file.value_or("");
  options.bearer_file = source.auth.bearer_file.value_or("");
  options.compresses = source.compress;
  options.timeout = source.timeout;
  options.backoff_base = output.retry.base;
  options.backoff_max = output.retry.max;
  options.batch_bytes = output.batch.max_size.value;
  options.batch_records = output.batch.max_records;
  options.batch_wait = output.batch.max_wait;
  return options;
}

std::unique_ptr<HttpDialect> dialect_of(const config::LogOutput& output) {
  if (output.elasticsearch) {
    return make_elasticsearch_dialect(elasticsearch_options(*output.elasticsearch));
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
  return make_ndjson_dialect({output.http->url, headers_of(output.http->headers),
                              output.http->body == config::HttpBody::Json});
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
                                    const std::string& state_prefix, Output::OnDone on_done) {
  const auto over_http = [&](const auto& source) {
    return std::make_unique<HttpOutput>(loop, clock, http_options(output, source, state_prefix),
                                        dialect_of(output), std::move(on_done));
  };
  if (output.elasticsearch) return over_http(*output.elasticsearch);
  if (output.loki) return over_http(*output.loki);
  if (output.otlp) return over_http(*output.otlp);
  if (output.http) return over_http(*output.http);
  if (output.syslog) {
    return std::make_unique<SyslogOutput>(loop, syslog_options(output), std::move(on_done));
  }
  if (output.file) {
    return std::make_unique<FileOutput>(loop, file_options(*output.file), std::move(on_done));
  }
  return std::make_unique<StdoutOutput>(loop, STDOUT_FILENO, std::move(on_done));
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
  if (output.to_stdout && output.to_stdout->pretty) {
    return "`pretty` is not supported yet (pipe the output through jq)";
  }
  if (output.syslog && output.syslog->tls && output.syslog->transport == config::Transport::Udp) {
    return "syslog: TLS goes over TCP; leave out `transport`";
  }
  if (const auto filter = make_filter(output.filter); !filter) {
    return "filter: " + filter.error().message();
  }
  const auto lacks_dead_letter = [&](const auto& source) {
    return source && !source->dead_letter && !has_state_directory;
  };
  if (lacks_dead_letter(output.elasticsearch) || lacks_dead_letter(output.loki) ||
      lacks_dead_letter(output.otlp) || lacks_dead_letter(output.http)) {
    return "no directory is writable for dead letters; set `dead_letter`";
  }
  return std::nullopt;
}

}  // namespace pillion::logs
