// Schema of the inputs that the metrics adapter asks: over HTTP, Redis, PostgreSQL.
#include "config/metrics.h"
#include "config/table_builder.h"
#include "config/validate.h"

namespace pillion::config {
namespace {

constexpr Rules kPath{.form = Form::AbsolutePath};
constexpr Rules kText{.required = true, .non_empty = true};
constexpr Rules kAnyNumber{.min = -1e300};

// The keys that every HTTP source has. C++ deduces no base class from a pointer to member.
template<class T>
TableBuilder<T>&& with_target(TableBuilder<T>&& builder, Rules url) {
  const auto member = [](auto MetricsTarget::*of_base) {
    return static_cast<std::remove_reference_t<decltype(std::declval<T>().*of_base)> T::*>(of_base);
  };
  return std::move(builder)
      .field("url", member(&MetricsTarget::url), "URL to ask.", url)
      .field("socket", member(&MetricsTarget::socket),
             "Unix socket to connect to; the URL still gives host and path.", kPath)
      .field("headers", member(&MetricsTarget::headers), "Further headers.")
      .field("tls", member(&MetricsTarget::tls), "TLS.")
      .field("auth", member(&MetricsTarget::auth), "Authentication.");
}

constexpr Rules kUrl{.required = true, .form = Form::HttpUrl};

}  // namespace

template<>
const TableSchema& schema_of<JsonMetric>() {
  static const TableSchema schema =
      TableBuilder<JsonMetric>("JSON metric", "A number in a JSON document, or one per element.")
          .field("path", &JsonMetric::path,
                 "JSON pointer such as `/queues/*/depth`; `*` is every element or member.", kText)
          .field("name", &JsonMetric::name, "The metric's name.", kText)
          .field("type", &JsonMetric::type, "Type.")
          .field("help", &JsonMetric::help, "Help text.")
          .field("unit", &JsonMetric::unit, "Unit, such as `seconds`; the name ends with it.")
          .field("scale", &JsonMetric::scale, "What the number is multiplied by.", kAnyNumber)
          .field(
              "labels", &JsonMetric::labels,
              "Labels: `$1` is the key or index that the first `*` matched, `./a` a pointer from "
              "the element that the last `*` matched, `/a` one from the top, else text.")
          .field("values", &JsonMetric::values,
                 "Numbers for texts, such as `{ up = 1, down = 0 }`.", kAnyNumber)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<JsonInput>() {
  static const TableSchema schema =
      with_target(TableBuilder<JsonInput>("JSON", "A JSON document over HTTP."), kUrl)
          .field("metric", &JsonInput::metrics, "What to take; without it every number is a gauge.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<TextMetric>() {
  static const TableSchema schema =
      TableBuilder<TextMetric>("Text metric", "A number in each line that matches.")
          .field("pattern", &TextMetric::pattern,
                 "PCRE2 with the named group `value`; other named groups become labels.",
                 {.required = true, .form = Form::Regex})
          .field("name", &TextMetric::name, "The metric's name.", kText)
          .field("type", &TextMetric::type, "Type.")
          .field("help", &TextMetric::help, "Help text.")
          .field("unit", &TextMetric::unit, "Unit, such as `seconds`; the name ends with it.")
          .field("scale", &TextMetric::scale, "What the number is multiplied by.", kAnyNumber)
          .field("labels", &TextMetric::labels, "Labels beside those of the pattern.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<TextInput>() {
  static const TableSchema schema =
      with_target(TableBuilder<TextInput>("Text", "Plain text over HTTP, line by line."), kUrl)
          .field("metric", &TextInput::metrics, "What to take.",
                 {.required = true, .non_empty = true})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<JolokiaRead>() {
  static const TableSchema schema =
      TableBuilder<JolokiaRead>("Jolokia read",
                                "Attributes of MBeans; all reads travel in one request.")
          .field("mbean", &JolokiaRead::mbean,
                 "Object name, such as `java.lang:type=GarbageCollector,name=*`.", kText)
          .field("attribute", &JolokiaRead::attributes, "Attributes; none is all.")
          .field("path", &JolokiaRead::path, "Path into a composite value.", {.non_empty = true})
          .field("name", &JolokiaRead::name, "The metrics' first part.",
                 {.non_empty = true, .computed_default = "domain, type and attribute"})
          .field("type", &JolokiaRead::type, "Type.")
          .field("help", &JolokiaRead::help, "Help text.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<JolokiaInput>() {
  static const TableSchema schema =
      with_target(TableBuilder<JolokiaInput>("Jolokia", "JMX over HTTP, as Jolokia serves it."),
                  kUrl)
          .field("read", &JolokiaInput::reads, "What to read.",
                 {.required = true, .non_empty = true})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<NginxInput>() {
  static const TableSchema schema =
      with_target(TableBuilder<NginxInput>("nginx", "The page of nginx' stub_status."), kUrl)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<HaproxyInput>() {
  static const TableSchema schema =
      with_target(TableBuilder<HaproxyInput>(
                      "HAProxy",
                      "HAProxy's statistics: `url` of the CSV (`http://…/stats;csv`), or `socket` "
                      "alone, the stats socket."),
                  {.form = Form::HttpUrl})
          .finish(check_haproxy)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<PrometheusInput>() {
  static const TableSchema schema =
      with_target(TableBuilder<PrometheusInput>("Prometheus", "Prometheus' text or OpenMetrics."),
                  kUrl)
          .field("keep", &PrometheusInput::keep, "Globs of the names to take; none is all.")
          .field("drop", &PrometheusInput::drop, "Globs of the names to leave out.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<RedisInput>() {
  static const TableSchema schema =
      TableBuilder<RedisInput>("Redis", "What `INFO all` of a Redis or Valkey server says.")
          .field("address", &RedisInput::address, "Where it listens.")
          .field("socket", &RedisInput::socket, "Its Unix socket.", kPath)
          .field("user", &RedisInput::user, "For AUTH.", {.non_empty = true})
          .field("password_file", &RedisInput::password_file, "File with the password, for AUTH.",
                 kPath)
          .field("tls", &RedisInput::tls, "Speak TLS.")
          .exactly_one({"address", "socket"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<SqlQuery>() {
  static const TableSchema schema =
      TableBuilder<SqlQuery>("SQL query",
                             "Every row is one series per value column; a NULL is none.")
          .field("name", &SqlQuery::name, "Put before the columns' names, with `_`.", kText)
          .field("sql", &SqlQuery::sql, "One statement; runs in a read-only transaction.", kText)
          .field("labels", &SqlQuery::labels, "Columns that are labels.")
          .field("counters", &SqlQuery::counters, "Columns that are counters.")
          .field("gauges", &SqlQuery::gauges, "Columns that are gauges.")
          .field("help", &SqlQuery::help, "Help texts by column.")
          .finish(check_sql_query)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<PostgresqlInput>() {
  static const TableSchema schema =
      TableBuilder<PostgresqlInput>("PostgreSQL", "Statistics of a PostgreSQL server, by SQL.")
          .field("connection", &PostgresqlInput::connection,
                 "libpq's connection string, such as `host=/run/postgresql dbname=postgres "
                 "user=pillion-metrics`; without a password.",
                 kText)
          .field("password_file", &PostgresqlInput::password_file, "File with the password.", kPath)
          .field("standard", &PostgresqlInput::has_standard_queries,
                 "Databases, activity, locks, replication, background writer and settings.")
          .field("query", &PostgresqlInput::queries, "Further queries.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<MetricsInput>() {
  static const TableSchema schema =
      TableBuilder<MetricsInput>("Metrics input",
                                 "Where the app's metrics come from. All but `statsd` are asked.")
          .field("name", &MetricsInput::name, "Value of the label `source` of our own metrics.",
                 {.non_empty = true, .computed_default = "the kind, with a number when repeated"})
          .field("statsd", &MetricsInput::statsd, "Statsd.")
          .field("json", &MetricsInput::json, "JSON over HTTP.")
          .field("text", &MetricsInput::text, "Text over HTTP.")
          .field("jolokia", &MetricsInput::jolokia, "JMX through Jolokia.")
          .field("redis", &MetricsInput::redis, "Redis.")
          .field("nginx", &MetricsInput::nginx, "nginx.")
          .field("haproxy", &MetricsInput::haproxy, "HAProxy.")
          .field("postgresql", &MetricsInput::postgresql, "PostgreSQL.")
          .field("prometheus", &MetricsInput::prometheus, "Another Prometheus endpoint.")
          .field("prefix", &MetricsInput::prefix, "Put before every metric's name.")
          .field("labels", &MetricsInput::labels, "Labels to add.")
          .field("period", &MetricsInput::period, "Between polls.", {.min = 100})
          .field("timeout", &MetricsInput::timeout, "Of one poll.", {.min = 1})
          .field("max_body", &MetricsInput::max_body, "Longest answer.",
                 {.min = 1024, .max = 256 << 20})
          .exactly_one({"statsd", "json", "text", "jolokia", "redis", "nginx", "haproxy",
                        "postgresql", "prometheus"})
          .done();
  return schema;
}

}  // namespace pillion::config
