// The table of a child with use = "metrics": where the app's metrics come from, what they are
// called, where they go.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/logs.h"
#include "config/names.h"
#include "config/units.h"

namespace pillion::config {

enum class StatsdType { Counter, Gauge, Timer, Histogram, Distribution, Set };
PILLION_NAMES(StatsdType, {StatsdType::Counter, "counter"}, {StatsdType::Gauge, "gauge"},
              {StatsdType::Timer, "timer"}, {StatsdType::Histogram, "histogram"},
              {StatsdType::Distribution, "distribution"}, {StatsdType::Set, "set"});

// What observations (timers, histograms, distributions) become.
enum class ObservationForm { Histogram, Summary };
PILLION_NAMES(ObservationForm, {ObservationForm::Histogram, "histogram"},
              {ObservationForm::Summary, "summary"});

// What a value read from elsewhere is.
enum class ValueType { Counter, Gauge };
PILLION_NAMES(ValueType, {ValueType::Counter, "counter"}, {ValueType::Gauge, "gauge"});

// The first rule whose `match` fits a name decides.
struct StatsdMapping {
  std::string match;                // glob over dotted parts: "shop.*.orders"
  std::optional<StatsdType> type;   // only samples of this type
  std::optional<std::string> name;  // $1 is the first *
  std::map<std::string, std::string> labels;
  bool is_dropped = false;  // key `drop`
  std::optional<std::string> help;
  std::optional<ObservationForm> observations;
  std::vector<double> buckets;    // empty = the input's
  std::vector<double> quantiles;  // empty = the input's
  std::optional<std::chrono::milliseconds> ttl;
  bool operator==(const StatsdMapping&) const = default;
};

// At least one of udp, tcp, socket.
struct StatsdInput {
  std::optional<SocketAddress> udp;
  std::optional<SocketAddress> tcp;
  std::optional<std::string> socket;  // Unix datagrams
  FileMode socket_mode{0666};
  Bytes receive_buffer = mebibytes(4);
  ObservationForm observations = ObservationForm::Histogram;
  std::vector<double> buckets{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  std::vector<double> quantiles{0.5, 0.9, 0.99};
  std::chrono::milliseconds window{60'000};  // of summaries and sets
  std::chrono::milliseconds ttl{3'600'000};  // 0 = series stay
  bool drops_unmapped = false;               // key `drop_unmapped`
  std::vector<StatsdMapping> mappings;       // key `mapping`
  bool operator==(const StatsdInput&) const = default;
};

// How an HTTP source is reached.
struct MetricsTarget {
  std::string url;
  std::optional<std::string> socket;  // a Unix socket to connect to instead of the URL's host
  std::map<std::string, std::string> headers;
  LogTls tls;
  LogAuth auth;
  bool operator==(const MetricsTarget&) const = default;
};

// One value, or one per element that `*` matches.
struct JsonMetric {
  std::string path;  // JSON pointer; a part `*` is every element
  std::string name;
  ValueType type = ValueType::Gauge;
  std::string help;
  std::string unit;
  double scale = 1;
  std::map<std::string, std::string> labels;  // "$1", "./relative", "/absolute" or text
  std::map<std::string, double> values;       // text of the document to number
  bool operator==(const JsonMetric&) const = default;
};

struct JsonInput : MetricsTarget {
  std::vector<JsonMetric> metrics;  // key `metric`; empty = every number
  bool operator==(const JsonInput&) const = default;
};

// Lines of a text that a regular expression matches.
struct TextMetric {
  std::string pattern;  // named groups: `value`, the others are labels
  std::string name;
  ValueType type = ValueType::Gauge;
  std::string help;
  std::string unit;
  double scale = 1;
  std::map<std::string, std::string> labels;
  bool operator==(const TextMetric&) const = default;
};

struct TextInput : MetricsTarget {
  std::vector<TextMetric> metrics;  // key `metric`
  bool operator==(const TextInput&) const = default;
};

// One read request of Jolokia's protocol.
struct JolokiaRead {
  std::string mbean;                    // may hold *
  std::vector<std::string> attributes;  // key `attribute`; empty = all
  std::optional<std::string> path;      // into a composite value
  std::optional<std::string> name;      // default: made of domain, type, attribute
  ValueType type = ValueType::Gauge;
  std::string help;
  bool operator==(const JolokiaRead&) const = default;
};

struct JolokiaInput : MetricsTarget {
  std::vector<JolokiaRead> reads;  // key `read`
  bool operator==(const JolokiaInput&) const = default;
};

struct NginxInput : MetricsTarget {
  bool operator==(const NginxInput&) const = default;
};

// The CSV over HTTP (`url`) or from the stats socket alone.
struct HaproxyInput : MetricsTarget {
  bool operator==(const HaproxyInput&) const = default;
};

struct PrometheusInput : MetricsTarget {
  std::vector<std::string> keep;  // globs of names; empty = all
  std::vector<std::string> drop;
  bool operator==(const PrometheusInput&) const = default;
};

// Exactly one of address, socket.
struct RedisInput {
  std::optional<HostPort> address;
  std::optional<std::string> socket;
  std::optional<std::string> user;
  std::optional<std::string> password_file;
  std::optional<LogTls> tls;
  bool operator==(const RedisInput&) const = default;
};

// One statement; every row is one series per value column.
struct SqlQuery {
  std::string name;  // put before the columns' names
  std::string sql;
  std::vector<std::string> labels;          // columns
  std::vector<std::string> counters;        // columns
  std::vector<std::string> gauges;          // columns
  std::map<std::string, std::string> help;  // by column
  bool operator==(const SqlQuery&) const = default;
};

struct PostgresqlInput {
  std::string connection;  // libpq's "host=… dbname=…" or postgresql://…
  std::optional<std::string> password_file;
  bool has_standard_queries = true;  // key `standard`
  std::vector<SqlQuery> queries;     // key `query`
  bool operator==(const PostgresqlInput&) const = default;
};

// Exactly one kind is set.
struct MetricsInput {
  std::string name;  // label `source`; default: the kind
  std::optional<StatsdInput> statsd;
  std::optional<JsonInput> json;
  std::optional<TextInput> text;
  std::optional<JolokiaInput> jolokia;
  std::optional<RedisInput> redis;
  std::optional<NginxInput> nginx;
  std::optional<HaproxyInput> haproxy;
  std::optional<PostgresqlInput> postgresql;
  std::optional<PrometheusInput> prometheus;
  std::string prefix;
  std::map<std::string, std::string> labels;
  std::chrono::milliseconds period{15'000};
  std::chrono::milliseconds timeout{5'000};
  Bytes max_body = mebibytes(8);
  bool operator==(const MetricsInput&) const = default;
};

struct OtlpMetricsOutput {
  std::string url;
  OtlpEncoding encoding = OtlpEncoding::Protobuf;
  std::chrono::milliseconds interval{60'000};
  std::map<std::string, std::string> headers;
  std::map<std::string, std::string> header_files;  // header to the file with its value
  std::map<std::string, std::string> resource;      // attributes beside service.name and host.name
  LogTls tls;
  LogAuth auth;
  bool compress = true;
  std::chrono::milliseconds timeout{10'000};
  bool operator==(const OtlpMetricsOutput&) const = default;
};

struct MetricsOutput {
  std::optional<OtlpMetricsOutput> otlp;
  bool operator==(const MetricsOutput&) const = default;
};

struct MetricsConfig {
  std::string service;  // filled in by the supervisor
  SocketAddress listen = SocketAddress::of("127.0.0.1:9102");
  std::vector<MetricsInput> inputs;           // key `input`
  std::vector<MetricsOutput> outputs;         // key `output`
  std::map<std::string, std::string> labels;  // on every series
  unsigned max_series = 10'000;
  bool has_created = false;  // key `created`
  ComponentAdmin admin;
  bool operator==(const MetricsConfig&) const = default;
};

}  // namespace pillion::config
