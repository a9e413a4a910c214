// The table of a child with use = "logs": where lines come from, how they are read, where records
// go.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/names.h"
#include "config/units.h"

namespace pillion::config {

enum class LogFormat {
  Auto,
  Raw,
  Json,
  Logfmt,
  PrefixedLogfmt,
  Clf,
  Combined,
  NginxError,
  ApacheError,
  Syslog3164,
  Syslog5424,
  Log4j,
  Glog,
  Python,
  Postgresql,
  Mysql,
  Redis,
  Haproxy,
  Envoy,
  JavaGc,
  Csv,
  Ltsv,
  KeyValue,
  Pattern,
  Regex
};
PILLION_NAMES(LogFormat, {LogFormat::Auto, "auto"}, {LogFormat::Raw, "raw"},
              {LogFormat::Json, "json"}, {LogFormat::Logfmt, "logfmt"},
              {LogFormat::PrefixedLogfmt, "prefixed-logfmt"}, {LogFormat::Clf, "clf"},
              {LogFormat::Combined, "combined"}, {LogFormat::NginxError, "nginx-error"},
              {LogFormat::ApacheError, "apache-error"}, {LogFormat::Syslog3164, "syslog-3164"},
              {LogFormat::Syslog5424, "syslog-5424"}, {LogFormat::Log4j, "log4j"},
              {LogFormat::Glog, "glog"}, {LogFormat::Python, "python"},
              {LogFormat::Postgresql, "postgresql"}, {LogFormat::Mysql, "mysql"},
              {LogFormat::Redis, "redis"}, {LogFormat::Haproxy, "haproxy"},
              {LogFormat::Envoy, "envoy"}, {LogFormat::JavaGc, "java-gc"}, {LogFormat::Csv, "csv"},
              {LogFormat::Ltsv, "ltsv"}, {LogFormat::KeyValue, "key-value"},
              {LogFormat::Pattern, "pattern"}, {LogFormat::Regex, "regex"});

enum class Framing { Lines, Cri, Docker };
PILLION_NAMES(Framing, {Framing::Lines, "lines"}, {Framing::Cri, "cri"},
              {Framing::Docker, "docker"});

enum class StartAt { Beginning, End };
PILLION_NAMES(StartAt, {StartAt::Beginning, "beginning"}, {StartAt::End, "end"});

enum class Multiline { None, Auto, Java, Python, Go, Node, Ruby, Dotnet, Generic, Pattern };
PILLION_NAMES(Multiline, {Multiline::None, "none"}, {Multiline::Auto, "auto"},
              {Multiline::Java, "java"}, {Multiline::Python, "python"}, {Multiline::Go, "go"},
              {Multiline::Node, "node"}, {Multiline::Ruby, "ruby"}, {Multiline::Dotnet, "dotnet"},
              {Multiline::Generic, "generic"}, {Multiline::Pattern, "pattern"});

struct MultilineRules {
  Multiline preset = Multiline::None;
  std::optional<std::string> start;  // preset "pattern": regular expression of a first line
  std::chrono::milliseconds timeout{1'000};
  unsigned max_lines = 500;
  Bytes max_size = kibibytes(256);
  bool operator==(const MultilineRules&) const = default;
};

// Exactly one of file, child, fifo, syslog, syslog_socket, stdin.
struct LogInput {
  std::optional<std::string> file;   // absolute path, may hold * and ?
  std::optional<std::string> child;  // stdout and stderr of this child
  std::optional<std::string> fifo;
  std::optional<SocketAddress> syslog;       // TCP and UDP
  std::optional<std::string> syslog_socket;  // Unix datagrams
  Bytes spool = mebibytes(1024);             // of fifo, syslog and syslog_socket
  bool from_stdin = false;                   // key `stdin`
  std::vector<std::string> exclude;          // globs
  LogFormat format = LogFormat::Auto;
  std::optional<std::string> pattern;  // of format "pattern" or "regex"
  Framing framing = Framing::Lines;    // `child` implies cri
  std::string encoding = "utf-8";
  std::string timezone = "local";  // IANA name, "local" or "utc"; for times without a zone
  StartAt start_at = StartAt::Beginning;
  Bytes max_line = mebibytes(1);
  std::chrono::milliseconds partial_line_timeout{5'000};
  std::chrono::milliseconds discover_interval{1'000};
  std::chrono::milliseconds rotate_wait{5'000};
  MultilineRules multiline;
  std::map<std::string, std::string> fields;  // added to every record of this input
  bool operator==(const LogInput&) const = default;
};

struct LogTls {
  std::optional<std::string> ca_file;
  std::optional<std::string> certificate_file;
  std::optional<std::string> key_file;
  bool verify = true;
  bool operator==(const LogTls&) const = default;
};

// At most one of basic (user + password_file), api_key_file, bearer_file.
struct LogAuth {
  std::optional<std::string> user;
  std::optional<std::string> password_file;
  std::optional<std::string> api_key_file;
  std::optional<std::string> bearer_file;
  bool operator==(const LogAuth&) const = default;
};

struct StdoutOutput {
  bool pretty = false;
  bool operator==(const StdoutOutput&) const = default;
};

struct FileOutput {
  std::string path;
  Bytes max_size = mebibytes(100);
  unsigned max_files = 5;
  FileMode mode{0640};
  bool operator==(const FileOutput&) const = default;
};

enum class BulkOperation { Index, Create };
PILLION_NAMES(BulkOperation, {BulkOperation::Index, "index"}, {BulkOperation::Create, "create"});

struct ElasticsearchOutput {
  std::string url;
  std::string index;
  BulkOperation operation = BulkOperation::Create;
  bool document_id = false;  // _id from file identity and offset: repeats become 409
  std::optional<std::string> pipeline;
  std::optional<std::string> dead_letter;  // file; default below the state directory
  LogTls tls;
  LogAuth auth;
  bool compress = true;
  std::chrono::milliseconds timeout{30'000};
  bool operator==(const ElasticsearchOutput&) const = default;
};

struct LokiOutput {
  std::string url;
  std::optional<std::string> tenant;
  std::map<std::string, std::string> labels;
  std::optional<std::string> dead_letter;
  LogTls tls;
  LogAuth auth;
  bool compress = true;
  std::chrono::milliseconds timeout{30'000};
  bool operator==(const LokiOutput&) const = default;
};

enum class OtlpEncoding { Protobuf, Json };
PILLION_NAMES(OtlpEncoding, {OtlpEncoding::Protobuf, "protobuf"}, {OtlpEncoding::Json, "json"});

struct OtlpOutput {
  std::string url;
  OtlpEncoding encoding = OtlpEncoding::Protobuf;
  std::map<std::string, std::string> headers;
  std::optional<std::string> dead_letter;
  LogTls tls;
  LogAuth auth;
  bool compress = true;
  std::chrono::milliseconds timeout{30'000};
  bool operator==(const OtlpOutput&) const = default;
};

struct SyslogOutput {
  HostPort address;
  unsigned facility = 1;  // of RFC 5424; 1 = user
  Transport transport = Transport::Tcp;
  std::optional<LogTls> tls;
  bool operator==(const SyslogOutput&) const = default;
};

enum class HttpBody { Ndjson, Json };
PILLION_NAMES(HttpBody, {HttpBody::Ndjson, "ndjson"}, {HttpBody::Json, "json"});

struct HttpOutput {
  std::string url;
  HttpBody body = HttpBody::Ndjson;
  std::map<std::string, std::string> headers;
  std::optional<std::string> dead_letter;
  LogTls tls;
  LogAuth auth;
  bool compress = true;
  std::chrono::milliseconds timeout{30'000};
  bool operator==(const HttpOutput&) const = default;
};

struct Batch {
  Bytes max_size = mebibytes(5);
  unsigned max_records = 5'000;
  std::chrono::milliseconds max_wait{1'000};
  bool operator==(const Batch&) const = default;
};

struct RetryBackoff {
  std::chrono::milliseconds base{1'000};
  std::chrono::milliseconds max{60'000};
  bool operator==(const RetryBackoff&) const = default;
};

// Which records an output gets.
struct LogFilter {
  std::optional<std::string> min_level;
  std::map<std::string, std::string> match;    // field to regular expression; all must match
  std::map<std::string, std::string> exclude;  // none may
  double sample = 1;
  unsigned rate_limit = 0;  // records a second; 0 = no limit
  std::chrono::milliseconds deduplicate{0};
  bool operator==(const LogFilter&) const = default;
};

// Exactly one of stdout, file, elasticsearch, loki, otlp, syslog, http.
struct LogOutput {
  std::optional<StdoutOutput> to_stdout;  // key `stdout`
  std::optional<FileOutput> file;
  std::optional<ElasticsearchOutput> elasticsearch;
  std::optional<LokiOutput> loki;
  std::optional<OtlpOutput> otlp;
  std::optional<SyslogOutput> syslog;
  std::optional<HttpOutput> http;
  LogFilter filter;
  Batch batch;
  RetryBackoff retry;
  bool operator==(const LogOutput&) const = default;
};

enum class FieldNames { Ecs, Otel };
PILLION_NAMES(FieldNames, {FieldNames::Ecs, "ecs"}, {FieldNames::Otel, "otel"});

enum class FieldType { Integer, Float, Boolean, String };
PILLION_NAMES(FieldType, {FieldType::Integer, "integer"}, {FieldType::Float, "float"},
              {FieldType::Boolean, "boolean"}, {FieldType::String, "string"});

// Applied to every record, in this order.
// What every record is told about where it comes from.
enum class SourceField { Service, Host, File };
PILLION_NAMES(SourceField, {SourceField::Service, "service.name"}, {SourceField::Host, "host.name"},
              {SourceField::File, "log.file.path"});

struct FieldRules {
  FieldNames names = FieldNames::Ecs;
  std::vector<SourceField> source{SourceField::Service, SourceField::Host, SourceField::File};
  std::map<std::string, std::string> add;
  std::map<std::string, std::string> rename;
  std::vector<std::string> drop;
  std::vector<std::string> keep;         // empty = all
  std::vector<std::string> redact;       // field names and dotted paths
  std::vector<std::string> redact_text;  // "cards", "emails", "secrets", or /expression/
  std::map<std::string, FieldType> convert;
  std::vector<std::string> hash;
  std::optional<std::string> hash_key_file;
  bool keep_original = false;  // the whole line as event.original
  bool operator==(const FieldRules&) const = default;
};

struct LogCheckpoint {
  std::optional<std::string> path;  // default: below the state directory
  std::chrono::milliseconds interval{1'000};
  bool operator==(const LogCheckpoint&) const = default;
};

struct ComponentAdmin {
  std::optional<SocketAddress> listen;  // default: only the Unix socket that is handed over
  bool operator==(const ComponentAdmin&) const = default;
};

struct LogsConfig {
  std::string service;             // filled in by the supervisor
  std::vector<LogInput> inputs;    // key `input`
  std::vector<LogOutput> outputs;  // key `output`; empty = stdout
  FieldRules fields;
  LogCheckpoint checkpoint;
  Bytes buffer = mebibytes(64);  // all records in memory; inputs pause above it
  ComponentAdmin admin;
  bool operator==(const LogsConfig&) const = default;
};

}  // namespace pillion::config
