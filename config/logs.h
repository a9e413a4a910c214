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

// The journal of systemd.
struct JournalInput {
  std::optional<std::string> directory;  // default: the machine's own journal
  std::vector<std::string> units;        // empty = all
  std::vector<std::string> match;        // "FIELD=value"; of one field any, of several all
  bool operator==(const JournalInput&) const = default;
};

// Exactly one of file, child, fifo, syslog, syslog_socket, journald, stdin.
struct LogInput {
  std::optional<std::string> file;   // absolute path, may hold * and ?
  std::optional<std::string> child;  // stdout and stderr of this child
  std::optional<std::string> fifo;
  std::optional<SocketAddress> syslog;       // TCP and UDP
  std::optional<std::string> syslog_socket;  // Unix datagrams
  std::optional<JournalInput> journald;
  Bytes spool = mebibytes(1024);     // of fifo, syslog and syslog_socket
  bool from_stdin = false;           // key `stdin`
  std::vector<std::string> exclude;  // globs
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

enum class Compression { Gzip, Zstd };
PILLION_NAMES(Compression, {Compression::Gzip, "gzip"}, {Compression::Zstd, "zstd"});

struct OtlpOutput {
  std::string url;
  OtlpEncoding encoding = OtlpEncoding::Protobuf;
  std::map<std::string, std::string> headers;
  std::optional<std::string> dead_letter;
  LogTls tls;
  LogAuth auth;
  bool compress = true;
  Compression compression = Compression::Gzip;
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
  Compression compression = Compression::Gzip;
  std::chrono::milliseconds timeout{30'000};
  bool operator==(const HttpOutput&) const = default;
};

enum class KafkaCompression { None, Gzip, Snappy, Lz4, Zstd };
PILLION_NAMES(KafkaCompression, {KafkaCompression::None, "none"}, {KafkaCompression::Gzip, "gzip"},
              {KafkaCompression::Snappy, "snappy"}, {KafkaCompression::Lz4, "lz4"},
              {KafkaCompression::Zstd, "zstd"});

enum class SaslMechanism { Plain, ScramSha256, ScramSha512 };
PILLION_NAMES(SaslMechanism, {SaslMechanism::Plain, "PLAIN"},
              {SaslMechanism::ScramSha256, "SCRAM-SHA-256"},
              {SaslMechanism::ScramSha512, "SCRAM-SHA-512"});

struct KafkaSasl {
  SaslMechanism mechanism = SaslMechanism::ScramSha512;
  std::string user;
  std::string password_file;
  bool operator==(const KafkaSasl&) const = default;
};

struct KafkaOutput {
  std::vector<std::string> brokers;  // "host:port"
  std::string topic;                 // may hold %{field}
  std::optional<std::string> key;    // may hold %{field}; without one records are spread
  KafkaCompression compression = KafkaCompression::Zstd;
  std::optional<LogTls> tls;
  std::optional<KafkaSasl> sasl;
  std::map<std::string, std::string> settings;  // of librdkafka, by its names
  std::optional<std::string> dead_letter;
  std::chrono::milliseconds timeout{120'000};
  bool operator==(const KafkaOutput&) const = default;
};

struct S3Output {
  std::string url;  // of the service: "https://s3.eu-central-1.amazonaws.com"
  std::string bucket;
  std::string region = "us-east-1";
  std::string key = "%{service.name}/%Y/%m/%d/%H/%{host.name}-%Y%m%dT%H%M%SZ-%{id}.ndjson";
  bool path_style = true;  // bucket in the path, not in the host's name
  std::string access_key_file;
  std::string secret_key_file;
  std::optional<std::string> session_token_file;
  std::optional<std::string> dead_letter;
  LogTls tls;
  bool compress = true;
  Compression compression = Compression::Gzip;
  std::chrono::milliseconds timeout{60'000};
  bool operator==(const S3Output&) const = default;
};

enum class LogMetricType { Counter, Gauge, Histogram, Timer, Set };
PILLION_NAMES(LogMetricType, {LogMetricType::Counter, "counter"}, {LogMetricType::Gauge, "gauge"},
              {LogMetricType::Histogram, "histogram"}, {LogMetricType::Timer, "timer"},
              {LogMetricType::Set, "set"});

// One metric made of records. A record counts when all of `match` match.
struct LogMetric {
  std::string name;
  LogMetricType type = LogMetricType::Counter;
  std::optional<std::string> value;           // field; a counter without one counts records
  std::map<std::string, std::string> labels;  // label to field
  std::map<std::string, std::string> match;   // field to regular expression
  bool operator==(const LogMetric&) const = default;
};

// Exactly one of socket, udp.
struct StatsdLogOutput {
  std::optional<std::string> socket;  // Unix datagrams
  std::optional<SocketAddress> udp;
  std::vector<LogMetric> metrics;  // key `metric`
  bool operator==(const StatsdLogOutput&) const = default;
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

// Exactly one of stdout, file, elasticsearch, loki, otlp, syslog, http, statsd, kafka, s3.
struct LogOutput {
  std::optional<StdoutOutput> to_stdout;  // key `stdout`
  std::optional<FileOutput> file;
  std::optional<ElasticsearchOutput> elasticsearch;
  std::optional<LokiOutput> loki;
  std::optional<OtlpOutput> otlp;
  std::optional<SyslogOutput> syslog;
  std::optional<HttpOutput> http;
  std::optional<StatsdLogOutput> statsd;
  std::optional<KafkaOutput> kafka;
  std::optional<S3Output> s3;
  LogFilter filter;
  Batch batch;  // of s3: 16 MiB or five minutes, unless said otherwise
  RetryBackoff retry;
  bool operator==(const LogOutput&) const = default;
};

enum class FieldNames { Ecs, Otel };
PILLION_NAMES(FieldNames, {FieldNames::Ecs, "ecs"}, {FieldNames::Otel, "otel"});

enum class Labels { Never, OnConflict, Always };
PILLION_NAMES(Labels, {Labels::Never, "never"}, {Labels::OnConflict, "on-conflict"},
              {Labels::Always, "always"});

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
  std::map<std::string, std::string> add_from_env;  // field to environment variable
  bool trace_ids = false;                           // trace_id, traceparent… to trace.id, span.id
  std::map<std::string, std::string> rename;
  std::vector<std::string> drop;
  std::vector<std::string> keep;         // empty = all
  std::vector<std::string> redact;       // field names and dotted paths
  std::vector<std::string> redact_text;  // "cards", "emails", "secrets", or /expression/
  std::map<std::string, FieldType> convert;
  std::vector<std::string> hash;
  std::optional<std::string> hash_key_file;
  Labels labels = Labels::Never;
  std::vector<std::string> redact_issued;  // files of pillion-secrets
  bool keep_original = false;              // the whole line as event.original
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
