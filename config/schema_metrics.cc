// Schema of the metrics adapter's table: statsd, outputs and the whole. The inputs that are asked
// are in schema_metrics_input.cc.
#include "config/metrics.h"
#include "config/table_builder.h"
#include "config/validate.h"

namespace pillion::config {

constexpr Rules kPath{.form = Form::AbsolutePath};

template<>
const TableSchema& schema_of<StatsdMapping>() {
  static const TableSchema schema =
      TableBuilder<StatsdMapping>(
          "Statsd mapping",
          "What a statsd name becomes. The first rule that fits decides; tags stay labels.")
          .field("match", &StatsdMapping::match,
                 "The name; `*` matches one part between dots, or a piece of it.",
                 {.required = true, .non_empty = true})
          .field("type", &StatsdMapping::type, "Only samples of this type.")
          .field("name", &StatsdMapping::name,
                 "The metric's name; `$1` is what the first `*` matched.",
                 {.non_empty = true, .computed_default = "the statsd name, dots as underscores"})
          .field("labels", &StatsdMapping::labels, "Labels; `$1` as in `name`.")
          .field("drop", &StatsdMapping::is_dropped, "Leave these samples out.")
          .field("help", &StatsdMapping::help, "Help text.")
          .field("observations", &StatsdMapping::observations, "As of the input, for these names.",
                 {.computed_default = "the input's"})
          .field("buckets", &StatsdMapping::buckets, "As of the input, for these names.",
                 {.min = -1e300, .computed_default = "the input's"})
          .field("quantiles", &StatsdMapping::quantiles, "As of the input, for these names.",
                 {.max = 1, .computed_default = "the input's"})
          .field("ttl", &StatsdMapping::ttl, "As of the input, for these names.",
                 {.computed_default = "the input's"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<StatsdInput>() {
  static const TableSchema schema =
      TableBuilder<StatsdInput>(
          "Statsd",
          "Receives statsd samples, with tags as DogStatsD, InfluxDB, Librato, SignalFX and "
          "Graphite write them. At least one of `udp`, `tcp` and `socket`.")
          .field("udp", &StatsdInput::udp, "UDP address.")
          .field("tcp", &StatsdInput::tcp, "TCP address; a line each.")
          .field("socket", &StatsdInput::socket, "Path of a Unix datagram socket.", kPath)
          .field("socket_mode", &StatsdInput::socket_mode, "Permissions of the socket.")
          .field("receive_buffer", &StatsdInput::receive_buffer,
                 "Of a datagram socket, in the kernel, as far as it allows.", {.min = 4096})
          .field("observations", &StatsdInput::observations,
                 "What timers, histograms and distributions become.")
          .field("buckets", &StatsdInput::buckets,
                 "Upper bounds of histograms, rising; seconds for timers.",
                 {.non_empty = true, .min = -1e300})
          .field("quantiles", &StatsdInput::quantiles,
                 "Of summaries; accurate to 1 % of the value.", {.non_empty = true, .max = 1})
          .field("window", &StatsdInput::window, "Time over which summaries and sets look back.",
                 {.min = 1000})
          .field("ttl", &StatsdInput::ttl,
                 "A series without samples for so long goes away; 0 is never.")
          .field("drop_unmapped", &StatsdInput::drops_unmapped,
                 "Leave out names that no mapping fits.")
          .field("mapping", &StatsdInput::mappings, "Names.")
          .finish(check_statsd)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<OtlpMetricsOutput>() {
  static const TableSchema schema =
      TableBuilder<OtlpMetricsOutput>("OTLP metrics", "OpenTelemetry's protocol over HTTP, pushed.")
          .field("url", &OtlpMetricsOutput::url, "Base URL; `/v1/metrics` is appended.",
                 {.required = true, .form = Form::HttpUrl})
          .field("encoding", &OtlpMetricsOutput::encoding, "Of the body.")
          .field("interval", &OtlpMetricsOutput::interval, "Between pushes.", {.min = 100})
          .field("headers", &OtlpMetricsOutput::headers, "Further headers.")
          .field("header_files", &OtlpMetricsOutput::header_files,
                 "Further headers, with the files that hold their values; read for every push.",
                 kPath)
          .field("resource", &OtlpMetricsOutput::resource,
                 "Attributes beside `service.name` and `host.name`.")
          .field("tls", &OtlpMetricsOutput::tls, "TLS.")
          .field("auth", &OtlpMetricsOutput::auth, "Authentication.")
          .field("compress", &OtlpMetricsOutput::compress, "gzip.")
          .field("timeout", &OtlpMetricsOutput::timeout, "Of one request.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<MetricsOutput>() {
  static const TableSchema schema =
      TableBuilder<MetricsOutput>("Metrics output",
                                  "Where metrics are pushed, beside the endpoint that is scraped.")
          .field("otlp", &MetricsOutput::otlp, "OpenTelemetry.")
          .exactly_one({"otlp"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<MetricsConfig>() {
  static const TableSchema schema =
      TableBuilder<MetricsConfig>("Metrics", "The table of a child with `use = \"metrics\"`.")
          .field("service", &MetricsConfig::service, "Filled in by the supervisor.")
          .field("listen", &MetricsConfig::listen,
                 "Where Prometheus scrapes `/metrics`, as text 0.0.4 or OpenMetrics 1.0.0.")
          .field("input", &MetricsConfig::inputs, "Inputs.", {.required = true, .non_empty = true})
          .field("output", &MetricsConfig::outputs, "Outputs beside `listen`.")
          .field("labels", &MetricsConfig::labels, "Labels of every series.")
          .field("max_series", &MetricsConfig::max_series,
                 "Series of all inputs together; beyond it they are refused and counted.",
                 {.min = 1, .max = 1'000'000})
          .field("created", &MetricsConfig::has_created,
                 "Whether OpenMetrics tells when series began, as `_created`.")
          .field("admin", &MetricsConfig::admin, "Admin.")
          .finish(check_metrics)
          .done();
  return schema;
}

}  // namespace pillion::config
