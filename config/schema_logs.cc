// Schema of the log adapter's table, and of the tables that it shares with other components.
#include "config/logs.h"
#include "config/table_builder.h"
#include "config/validate.h"

namespace pillion::config {

constexpr Rules kPath{.form = Form::AbsolutePath};
constexpr Rules kDeadLetter{.form = Form::AbsolutePath,
                            .computed_default = "below the state directory"};
constexpr const char* kDeadLetterText = "File for records that were refused for good.";
constexpr Rules kUrl{.required = true, .form = Form::HttpUrl};

template<>
const TableSchema& schema_of<ComponentAdmin>() {
  static const TableSchema schema =
      TableBuilder<ComponentAdmin>("Admin", "Health, metrics and administration of a component.")
          .field("listen", &ComponentAdmin::listen,
                 "TCP address, beside the Unix socket that the supervisor hands over.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<RetryBackoff>() {
  static const TableSchema schema =
      TableBuilder<RetryBackoff>("Retry back-off", "Doubled each time, fully jittered.")
          .field("base", &RetryBackoff::base, "First wait.", {.min = 1})
          .field("max", &RetryBackoff::max, "Longest wait.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<MultilineRules>() {
  static const TableSchema schema =
      TableBuilder<MultilineRules>("Multi-line records", "Which lines belong together.")
          .field("preset", &MultilineRules::preset, "What the lines come from.")
          .field("start", &MultilineRules::start, "Preset `pattern`: what a first line looks like.",
                 {.form = Form::Regex})
          .field("timeout", &MultilineRules::timeout,
                 "A record ends when no line has come for so long.")
          .field("max_lines", &MultilineRules::max_lines, "Longest record, in lines.", {.min = 1})
          .field("max_size", &MultilineRules::max_size, "Longest record, in bytes.", {.min = 1024})
          .finish([](Reader& reader, const Node& node, MultilineRules& rules) {
            if (rules.preset == Multiline::Pattern && !node.find("start")) {
              reader.missing(node.position, "preset \"pattern\" needs `start`");
            }
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<JournalInput>() {
  static const TableSchema schema =
      TableBuilder<JournalInput>("Journal", "The journal of systemd.")
          .field("directory", &JournalInput::directory, "Directory with journal files.",
                 {.form = Form::AbsolutePath, .computed_default = "the machine's own journal"})
          .field("units", &JournalInput::units, "Only these units; empty is all.",
                 {.non_empty = true})
          .field("match", &JournalInput::match,
                 "Only entries with `FIELD=value`; of one field any value, of several fields all.",
                 {.non_empty = true})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LogInput>() {
  static const TableSchema schema =
      TableBuilder<LogInput>("Log input", "Where lines come from and how they are read.")
          .field("file", &LogInput::file, "File to follow through rotation; may hold `*` and `?`.",
                 {.form = Form::Glob})
          .field("child", &LogInput::child, "Standard output and error of this child.")
          .field("fifo", &LogInput::fifo, "Named pipe to read.", {.form = Form::AbsolutePath})
          .field("syslog", &LogInput::syslog, "TCP and UDP address for syslog.")
          .field("syslog_socket", &LogInput::syslog_socket, "Unix datagram socket for syslog.",
                 {.form = Form::AbsolutePath})
          .field("journald", &LogInput::journald, "The journal of systemd.")
          .field("spool", &LogInput::spool,
                 "Of `fifo`, `syslog` and `syslog_socket`: what may wait on disk for the outputs.",
                 {.min = 1 << 20})
          .field("stdin", &LogInput::from_stdin, "Standard input.", {.hide_default = true})
          .field("exclude", &LogInput::exclude, "Files that `file` must not match.",
                 {.form = Form::Glob})
          .field("format", &LogInput::format,
                 "How a line is parsed; `auto` recognises it, `raw` keeps it whole.")
          .field(
              "pattern", &LogInput::pattern,
              "Of format `pattern` (a layout), `regex` (named groups become fields) or `csv` (the "
              "names of the columns).",
              {.non_empty = true})
          .field("framing", &LogInput::framing,
                 "What is around each line: nothing, or a container runtime's envelope.",
                 {.computed_default = "\"lines\"; \"cri\" for `child`"})
          .field("encoding", &LogInput::encoding,
                 "Of the bytes of `file`: a name that iconv knows, such as \"utf-16\" or "
                 "\"windows-1252\".",
                 {.non_empty = true})
          .field("timezone", &LogInput::timezone,
                 "Of times without a zone: an IANA name, \"local\" or \"utc\".",
                 {.non_empty = true})
          .field("start_at", &LogInput::start_at, "Where a file without a checkpoint is begun.")
          .field("max_line", &LogInput::max_line, "Longer lines are cut and flagged.",
                 {.min = 1024, .max = 64 << 20})
          .field("partial_line_timeout", &LogInput::partial_line_timeout,
                 "A line without its newline is taken as it is after so long.")
          .field("discover_interval", &LogInput::discover_interval,
                 "How often new files are looked for, beside inotify.", {.min = 10})
          .field("rotate_wait", &LogInput::rotate_wait,
                 "A renamed file is read on for so long after its last growth.")
          .field("multiline", &LogInput::multiline, "Records of several lines.")
          .field("fields", &LogInput::fields, "Fields to add to every record of this input.")
          .exactly_one({"file", "child", "fifo", "syslog", "syslog_socket", "journald", "stdin"})
          .finish(check_log_input)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LogTls>() {
  static const TableSchema schema =
      TableBuilder<LogTls>("TLS of an output", "")
          .field("ca_file", &LogTls::ca_file, "Trusted certificates, PEM.",
                 {.form = Form::AbsolutePath, .computed_default = "the system's"})
          .field("certificate_file", &LogTls::certificate_file, "Our certificate, PEM.", kPath)
          .field("key_file", &LogTls::key_file, "Our key, PEM.", kPath)
          .field("verify", &LogTls::verify, "Verify the peer; off only for experiments.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LogAuth>() {
  static const TableSchema schema =
      TableBuilder<LogAuth>("Authentication of an output",
                            "Secrets come from files, which are read again when they change.")
          .field("user", &LogAuth::user, "Basic: the user.")
          .field("password_file", &LogAuth::password_file, "Basic: file with the password.", kPath)
          .field("api_key_file", &LogAuth::api_key_file, "File with an Elasticsearch API key.",
                 kPath)
          .field("bearer_file", &LogAuth::bearer_file, "File with a bearer token.", kPath)
          .at_most_one({"user", "api_key_file", "bearer_file"})
          .finish([](Reader& reader, const Node& node, LogAuth&) {
            if ((node.find("user") == nullptr) != (node.find("password_file") == nullptr)) {
              reader.missing(node.position, "`user` and `password_file` go together");
            }
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<StdoutOutput>() {
  static const TableSchema schema =
      TableBuilder<StdoutOutput>("Output to standard output", "")
          .field("pretty", &StdoutOutput::pretty, "Indented, for people.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<FileOutput>() {
  static const TableSchema schema =
      TableBuilder<FileOutput>("Output to a file", "One JSON object per line.")
          .field("path", &FileOutput::path, "The file.",
                 {.required = true, .form = Form::AbsolutePath})
          .field("max_size", &FileOutput::max_size, "Rotated above it.", {.min = 4096})
          .field("max_files", &FileOutput::max_files, "Rotated files that are kept.", {.max = 1000})
          .field("mode", &FileOutput::mode, "Permissions of new files.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ElasticsearchOutput>() {
  static const TableSchema schema =
      TableBuilder<ElasticsearchOutput>("Output to Elasticsearch or OpenSearch",
                                        "`_bulk`, with the verdict on every item honoured.")
          .field("url", &ElasticsearchOutput::url, "Base URL.", kUrl)
          .field("index", &ElasticsearchOutput::index, "Index or data stream.",
                 {.required = true, .non_empty = true})
          .field("operation", &ElasticsearchOutput::operation, "Data streams only take `create`.")
          .field("document_id", &ElasticsearchOutput::document_id,
                 "Make the `_id` from the line's place, so that repeats are recognised.")
          .field("pipeline", &ElasticsearchOutput::pipeline, "Ingest pipeline.",
                 {.non_empty = true})
          .field("dead_letter", &ElasticsearchOutput::dead_letter, kDeadLetterText, kDeadLetter)
          .field("tls", &ElasticsearchOutput::tls, "TLS.")
          .field("auth", &ElasticsearchOutput::auth, "Authentication.")
          .field("compress", &ElasticsearchOutput::compress, "gzip the batches.")
          .field("timeout", &ElasticsearchOutput::timeout, "Of one request.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LokiOutput>() {
  static const TableSchema schema =
      TableBuilder<LokiOutput>("Output to Loki", "")
          .field("url", &LokiOutput::url, "Base URL.", kUrl)
          .field("tenant", &LokiOutput::tenant, "X-Scope-OrgID.")
          .field("labels", &LokiOutput::labels,
                 "Further stream labels, beside `service_name`, `host` and `level`; keep them few.")
          .field("dead_letter", &LokiOutput::dead_letter, kDeadLetterText, kDeadLetter)
          .field("tls", &LokiOutput::tls, "TLS.")
          .field("auth", &LokiOutput::auth, "Authentication.")
          .field("compress", &LokiOutput::compress, "gzip the batches.")
          .field("timeout", &LokiOutput::timeout, "Of one request.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<OtlpOutput>() {
  static const TableSchema schema =
      TableBuilder<OtlpOutput>("Output over OTLP/HTTP", "")
          .field("url", &OtlpOutput::url, "Base URL, without /v1/logs.", kUrl)
          .field("encoding", &OtlpOutput::encoding, "Of the requests.")
          .field("headers", &OtlpOutput::headers, "Further request headers.")
          .field("dead_letter", &OtlpOutput::dead_letter, kDeadLetterText, kDeadLetter)
          .field("tls", &OtlpOutput::tls, "TLS.")
          .field("auth", &OtlpOutput::auth, "Authentication.")
          .field("compress", &OtlpOutput::compress, "Compress the batches.")
          .field("compression", &OtlpOutput::compression, "How; zstd where the receiver takes it.")
          .field("timeout", &OtlpOutput::timeout, "Of one request.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<SyslogOutput>() {
  static const TableSchema schema =
      TableBuilder<SyslogOutput>("Output to syslog",
                                 "RFC 5424; best effort, since no receiver "
                                 "acknowledges.")
          .field("address", &SyslogOutput::address, "The receiver.", {.required = true})
          .field("facility", &SyslogOutput::facility,
                 "Number of the facility, 1 for user messages.", {.max = 23})
          .field("transport", &SyslogOutput::transport, "TCP (octet-counted) or UDP.")
          .field("tls", &SyslogOutput::tls, "TLS over TCP; its presence switches it on.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<HttpOutput>() {
  static const TableSchema schema =
      TableBuilder<HttpOutput>("Output over HTTP", "Records by POST, as JSON.")
          .field("url", &HttpOutput::url, "Where to post.", kUrl)
          .field("body", &HttpOutput::body, "A record per line, or one JSON array.")
          .field("headers", &HttpOutput::headers, "Further request headers.")
          .field("dead_letter", &HttpOutput::dead_letter, kDeadLetterText, kDeadLetter)
          .field("tls", &HttpOutput::tls, "TLS.")
          .field("auth", &HttpOutput::auth, "Authentication.")
          .field("compress", &HttpOutput::compress, "Compress the batches.")
          .field("compression", &HttpOutput::compression, "How; zstd where the receiver takes it.")
          .field("timeout", &HttpOutput::timeout, "Of one request.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<KafkaSasl>() {
  static const TableSchema schema =
      TableBuilder<KafkaSasl>("SASL", "How to log in to Kafka.")
          .field("mechanism", &KafkaSasl::mechanism, "The mechanism.")
          .field("user", &KafkaSasl::user, "The user.", {.required = true, .non_empty = true})
          .field("password_file", &KafkaSasl::password_file, "File with the password.",
                 {.required = true, .form = Form::AbsolutePath})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<KafkaOutput>() {
  static const TableSchema schema =
      TableBuilder<KafkaOutput>("Output to Kafka",
                                "Needs librdkafka (package librdkafka1) on the machine.")
          .field("brokers", &KafkaOutput::brokers, "Some of the brokers, \"host:port\".",
                 {.required = true, .non_empty = true})
          .field("topic", &KafkaOutput::topic, "The topic; `%{field}` stands for a field's value.",
                 {.required = true, .non_empty = true})
          .field("key", &KafkaOutput::key,
                 "The key, with `%{field}`: records of one key keep their order. Without one they "
                 "are spread.",
                 {.non_empty = true})
          .field("compression", &KafkaOutput::compression, "Of the batches.")
          .field("tls", &KafkaOutput::tls, "TLS; its presence switches it on.")
          .field("sasl", &KafkaOutput::sasl, "Log in.")
          .field("settings", &KafkaOutput::settings,
                 "Further settings of librdkafka, by its names.")
          .field("dead_letter", &KafkaOutput::dead_letter, kDeadLetterText, kDeadLetter)
          .field("timeout", &KafkaOutput::timeout,
                 "After which a record that was not acknowledged is handed to the library again.",
                 {.min = 1000})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<S3Output>() {
  static const TableSchema schema =
      TableBuilder<S3Output>("Output to S3",
                             "Objects with a record per line; Amazon S3 and what speaks it.")
          .field("url", &S3Output::url, "Of the service.", kUrl)
          .field("bucket", &S3Output::bucket, "The bucket.", {.required = true, .non_empty = true})
          .field("region", &S3Output::region, "The region that requests are signed for.",
                 {.non_empty = true})
          .field("key", &S3Output::key,
                 "Name of an object: `%{field}` of its first record, `%{id}` of the batch, and "
                 "strftime(3) for the time of its first record, UTC.",
                 {.non_empty = true})
          .field("path_style", &S3Output::path_style,
                 "The bucket in the path; else in the host's name.")
          .field("access_key_file", &S3Output::access_key_file, "File with the access key id.",
                 {.required = true, .form = Form::AbsolutePath})
          .field("secret_key_file", &S3Output::secret_key_file, "File with the secret key.",
                 {.required = true, .form = Form::AbsolutePath})
          .field("session_token_file", &S3Output::session_token_file,
                 "File with the session token of temporary keys.", kPath)
          .field("dead_letter", &S3Output::dead_letter, kDeadLetterText, kDeadLetter)
          .field("tls", &S3Output::tls, "TLS.")
          .field("compress", &S3Output::compress, "Compress the objects.")
          .field("compression", &S3Output::compression, "How.")
          .field("timeout", &S3Output::timeout, "Of one request.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Batch>() {
  static const TableSchema schema =
      TableBuilder<Batch>("Batch", "Sent when any of these is reached.")
          .field("max_size", &Batch::max_size, "Before compression.",
                 {.min = 1024, .max = 64 << 20})
          .field("max_records", &Batch::max_records, "Records.", {.min = 1})
          .field("max_wait", &Batch::max_wait, "Since the first record.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LogFilter>() {
  static const TableSchema schema =
      TableBuilder<LogFilter>("Filter", "Which records an output gets.")
          .field("min_level", &LogFilter::min_level,
                 "`trace`, `debug`, `info`, `notice`, `warn`, `error`, `critical`, `alert` or "
                 "`fatal`; a record without level passes.")
          .field("match", &LogFilter::match,
                 "Fields and regular expressions that must all match; a field that a record lacks "
                 "does not.")
          .field("exclude", &LogFilter::exclude,
                 "Fields and regular expressions of which none may.")
          .field("sample", &LogFilter::sample, "Share of the records.", {.max = 1})
          .field("rate_limit", &LogFilter::rate_limit, "Records a second; 0 is no limit.")
          .field("deduplicate", &LogFilter::deduplicate,
                 "The same again within this time is left out; 0 is never.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LogMetric>() {
  static const TableSchema schema =
      TableBuilder<LogMetric>("Log metric", "A metric made of records.")
          .field("name", &LogMetric::name, "Statsd name.", {.required = true, .non_empty = true})
          .field("type", &LogMetric::type, "Statsd type; a timer's value is in milliseconds.")
          .field("value", &LogMetric::value,
                 "Field with the value; without it a counter counts records.", {.non_empty = true})
          .field("labels", &LogMetric::labels, "Labels and the fields that they come from.")
          .field("match", &LogMetric::match,
                 "Fields and regular expressions that must all match; a field that a record lacks "
                 "does not.")
          .finish([](Reader& reader, const Node& node, LogMetric& metric) {
            if (metric.type != LogMetricType::Counter && !node.find("value")) {
              reader.missing(node.position, "a " + std::string(name_of(metric.type)) +
                                                " needs `value`, the field that holds it");
            }
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<StatsdLogOutput>() {
  static const TableSchema schema =
      TableBuilder<StatsdLogOutput>("Output as metrics",
                                    "Samples for a statsd receiver such as `pillion-metrics`. By "
                                    "`socket` they wait for it; by `udp` they may be lost.")
          .field("socket", &StatsdLogOutput::socket, "Unix datagram socket.", kPath)
          .field("udp", &StatsdLogOutput::udp, "Address.")
          .field("metric", &StatsdLogOutput::metrics, "What to make of records.",
                 {.required = true, .non_empty = true})
          .exactly_one({"socket", "udp"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LogOutput>() {
  static const TableSchema schema =
      TableBuilder<LogOutput>("Log output",
                              "Where records go. Several outputs each keep their own place.")
          .field("stdout", &LogOutput::to_stdout, "Standard output.")
          .field("file", &LogOutput::file, "A rotated file.")
          .field("elasticsearch", &LogOutput::elasticsearch, "Elasticsearch or OpenSearch.")
          .field("loki", &LogOutput::loki, "Grafana Loki.")
          .field("otlp", &LogOutput::otlp, "OpenTelemetry.")
          .field("syslog", &LogOutput::syslog, "Syslog.")
          .field("http", &LogOutput::http, "Any HTTP receiver.")
          .field("statsd", &LogOutput::statsd, "Metrics made of records.")
          .field("kafka", &LogOutput::kafka, "Apache Kafka.")
          .field("s3", &LogOutput::s3, "Amazon S3, or what speaks like it.")
          .field("filter", &LogOutput::filter, "Filter.")
          .field("batch", &LogOutput::batch, "Batches; of `s3` 16MiB or 5m without this table.")
          .field("retry", &LogOutput::retry, "After errors that pass; without end.")
          .exactly_one({"stdout", "file", "elasticsearch", "loki", "otlp", "syslog", "http",
                        "statsd", "kafka", "s3"})
          .finish([](Reader&, const Node& node, LogOutput& output) {
            if (!output.s3 || node.find("batch") != nullptr) return;
            output.batch.max_size = mebibytes(16);
            output.batch.max_records = 1'000'000;
            output.batch.max_wait = std::chrono::minutes(5);
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<FieldRules>() {
  static const TableSchema schema =
      TableBuilder<FieldRules>("Fields", "Applied to every record, in this order.")
          .field("names", &FieldRules::names, "Elastic Common Schema, or OpenTelemetry's names.")
          .field("source", &FieldRules::source,
                 "Which fields about its source each record gets; `[]` for none.")
          .field("add", &FieldRules::add, "Fields to add.")
          .field("add_from_env", &FieldRules::add_from_env,
                 "Fields to add, with the environment variable that holds the value.")
          .field(
              "trace_ids", &FieldRules::trace_ids,
              "`trace_id`, `spanId`, `traceparent` and the like become `trace.id` and `span.id`.")
          .field("rename", &FieldRules::rename, "Old name to new name; `a.b` is `b` within `a`.")
          .field("drop", &FieldRules::drop, "Fields to leave out; `a.b` is `b` within `a`.")
          .field("keep", &FieldRules::keep, "Keep only these extracted fields; empty is all.")
          .field("redact", &FieldRules::redact,
                 "Fields whose value is replaced, at any depth; `a.b` is `b` within `a`.")
          .field("redact_text", &FieldRules::redact_text,
                 "What is replaced within texts: `cards`, `emails`, `secrets`, or a regular "
                 "expression between slashes.")
          .field("redact_issued", &FieldRules::redact_issued,
                 "Files of pillion-secrets (`fingerprints`): what it has issued is replaced "
                 "anywhere in a record.",
                 {.form = Form::AbsolutePath,
                  .computed_default = "those of the service's own `secrets` children"})
          .field("convert", &FieldRules::convert,
                 "Fields to turn into another type; a value that is none stays as it is.")
          .field("hash", &FieldRules::hash,
                 "Fields whose value is replaced by 32 digits of its SHA-256.")
          .field("hash_key_file", &FieldRules::hash_key_file,
                 "File with a key: HMAC-SHA-256, so that nobody finds values by trying.", kPath)
          .field("labels", &FieldRules::labels,
                 "Extracted fields go to `labels` as text: never, for records that Elasticsearch "
                 "refuses because of their mapping, or always.")
          .field("keep_original", &FieldRules::keep_original, "The whole line as `event.original`.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LogCheckpoint>() {
  static const TableSchema schema =
      TableBuilder<LogCheckpoint>("Checkpoint", "How far every file has been delivered.")
          .field("path", &LogCheckpoint::path, "The file.",
                 {.form = Form::AbsolutePath, .computed_default = "below the state directory"})
          .field("interval", &LogCheckpoint::interval, "Written at most so often, and at exit.",
                 {.min = 10})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<LogsConfig>() {
  static const TableSchema schema =
      TableBuilder<LogsConfig>("Logs", "The table of a child with `use = \"logs\"`.")
          .field("service", &LogsConfig::service, "Filled in by the supervisor.")
          .field("input", &LogsConfig::inputs, "Inputs.", {.required = true, .non_empty = true})
          .field("output", &LogsConfig::outputs, "Outputs; none is standard output.")
          .field("fields", &LogsConfig::fields, "Fields.")
          .field("checkpoint", &LogsConfig::checkpoint, "Checkpoint.")
          .field("buffer", &LogsConfig::buffer, "All records in memory; inputs pause above it.",
                 {.min = 1 << 20})
          .field("admin", &LogsConfig::admin, "Admin.")
          .done();
  return schema;
}

}  // namespace pillion::config
