#include "adapters/metrics/output/otlp_metrics.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "adapters/metrics/model/number_text.h"
#include "runtime/json_text.h"
#include "runtime/protobuf.h"

namespace pillion::metrics {
namespace {

constexpr const char* kScope = "pillion-metrics";
constexpr int kCumulative = 2;  // AGGREGATION_TEMPORALITY_CUMULATIVE

// UCUM, as OpenTelemetry wants it.
std::string_view unit_of(const Family& family) {
  static constexpr std::pair<std::string_view, std::string_view> kUnits[] = {
      {"seconds", "s"}, {"bytes", "By"},  {"ratio", "1"},  {"celsius", "Cel"}, {"meters", "m"},
      {"volts", "V"},   {"amperes", "A"}, {"joules", "J"}, {"grams", "g"}};
  for (const auto& [name, unit] : kUnits) {
    if (family.unit == name) return unit;
  }
  return family.unit;
}

// A point in a form that both encodings are made from.
struct Point {
  const Series* series = nullptr;
  std::uint64_t start = 0;  // 0 = none
  std::uint64_t now = 0;
};

// A source may say anything, also NaN; what is no count is none.
std::uint64_t whole_count(double count) {
  return count > 0 && count < 1e18 ? static_cast<std::uint64_t>(count) : 0;
}

std::vector<std::uint64_t> bucket_counts(const Distribution& whole) {
  std::vector<std::uint64_t> counts;
  double before = 0;
  const auto add = [&](double sum) {
    counts.push_back(whole_count(sum - before));
    before = std::max(before, sum);
  };
  for (const double sum : whole.values) add(sum);
  add(whole.count);
  return counts;
}

// ---- Protobuf (https://protobuf.dev/programming-guides/encoding/)

using namespace protobuf;

void put_double(std::string& out, unsigned field, double value) {
  put_fixed64(out, field, std::bit_cast<std::uint64_t>(value));
}
void put_attribute(std::string& out, unsigned field, std::string_view key, std::string_view value) {
  std::string any;
  put_bytes(any, 1, value);
  std::string pair;
  put_bytes(pair, 1, key);
  put_bytes(pair, 2, any);
  put_bytes(out, field, pair);
}

std::string number_point(const Point& point) {
  std::string out;
  if (point.start != 0) put_fixed64(out, 2, point.start);
  put_fixed64(out, 3, point.now);
  put_double(out, 4, point.series->value);
  for (const auto& [key, value] : point.series->labels) put_attribute(out, 7, key, value);
  return out;
}

std::string histogram_point(const Point& point) {
  const Distribution& whole = *point.series->distribution;
  std::string out;
  put_fixed64(out, 2, point.start);
  put_fixed64(out, 3, point.now);
  put_fixed64(out, 4, whole_count(whole.count));
  put_double(out, 5, whole.sum);
  std::string counts;
  for (const std::uint64_t count : bucket_counts(whole)) append_fixed64(counts, count);
  put_bytes(out, 6, counts);
  std::string bounds;
  for (const double bound : whole.bounds)
    append_fixed64(bounds, std::bit_cast<std::uint64_t>(bound));
  put_bytes(out, 7, bounds);
  for (const auto& [key, value] : point.series->labels) put_attribute(out, 9, key, value);
  return out;
}

std::string summary_point(const Point& point) {
  const Distribution& whole = *point.series->distribution;
  std::string out;
  put_fixed64(out, 2, point.start);
  put_fixed64(out, 3, point.now);
  put_fixed64(out, 4, whole_count(whole.count));
  put_double(out, 5, whole.sum);
  for (std::size_t i = 0; i < whole.bounds.size(); ++i) {
    std::string quantile;
    put_double(quantile, 1, whole.bounds[i]);
    put_double(quantile, 2, whole.values[i]);
    put_bytes(out, 6, quantile);
  }
  for (const auto& [key, value] : point.series->labels) put_attribute(out, 7, key, value);
  return out;
}

std::string metric_protobuf(const Family& head, const std::vector<Point>& points) {
  std::string data;
  for (const Point& point : points) {
    const bool is_histogram = head.kind == Kind::Histogram;
    put_bytes(data, 1,
              !point.series->distribution ? number_point(point)
              : is_histogram              ? histogram_point(point)
                                          : summary_point(point));
  }
  unsigned field = 5;  // gauge
  if (head.kind == Kind::Counter) {
    field = 7;
    put_number(data, 2, kCumulative);
    put_number(data, 3, 1);  // monotonic
  } else if (head.kind == Kind::Histogram) {
    field = 9;
    put_number(data, 2, kCumulative);
  } else if (head.kind == Kind::Summary) {
    field = 11;
  }
  std::string metric;
  put_bytes(metric, 1, head.name);
  if (!head.help.empty()) put_bytes(metric, 2, head.help);
  if (!unit_of(head).empty()) put_bytes(metric, 3, unit_of(head));
  put_bytes(metric, field, data);
  return metric;
}

// ---- JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding)

// Protobuf's JSON writes what JSON has no number for as text.
void put_json_number(std::string& out, double value) {
  if (std::isfinite(value)) {
    append_number(out, value);
  } else {
    out += std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  }
}

void put_json_attributes(std::string& out, const Labels& labels) {
  out += "\"attributes\":[";
  for (const auto& [key, value] : labels) {
    if (&key != &labels.front().first) out += ',';
    out += "{\"key\":";
    append_json_string(out, key);
    out += ",\"value\":{\"stringValue\":";
    append_json_string(out, value);
    out += "}}";
  }
  out += ']';
}

void put_json_distribution(std::string& out, const Family& head, const Distribution& whole) {
  out += fmt::format(",\"count\":\"{}\",\"sum\":", whole_count(whole.count));
  put_json_number(out, whole.sum);
  if (head.kind == Kind::Summary) {
    out += ",\"quantileValues\":[";
    for (std::size_t i = 0; i < whole.bounds.size(); ++i) {
      out += i == 0 ? "{\"quantile\":" : ",{\"quantile\":";
      put_json_number(out, whole.bounds[i]);
      out += ",\"value\":";
      put_json_number(out, whole.values[i]);
      out += '}';
    }
    out += ']';
    return;
  }
  out += ",\"bucketCounts\":[";
  for (const std::uint64_t count : bucket_counts(whole)) {
    if (out.back() != '[') out += ',';
    out += fmt::format("\"{}\"", count);
  }
  out += "],\"explicitBounds\":[";
  for (const double bound : whole.bounds) {
    if (out.back() != '[') out += ',';
    put_json_number(out, bound);
  }
  out += ']';
}

std::string metric_json(const Family& head, const std::vector<Point>& points) {
  std::string out = "{\"name\":";
  append_json_string(out, head.name);
  if (!head.help.empty()) {
    out += ",\"description\":";
    append_json_string(out, head.help);
  }
  if (const std::string_view unit = unit_of(head); !unit.empty()) {
    out += ",\"unit\":";
    append_json_string(out, unit);
  }
  const bool is_cumulative = head.kind == Kind::Counter || head.kind == Kind::Histogram;
  out += head.kind == Kind::Counter     ? ",\"sum\":{"
         : head.kind == Kind::Histogram ? ",\"histogram\":{"
         : head.kind == Kind::Summary   ? ",\"summary\":{"
                                        : ",\"gauge\":{";
  if (is_cumulative) out += fmt::format("\"aggregationTemporality\":{},", kCumulative);
  if (head.kind == Kind::Counter) out += "\"isMonotonic\":true,";
  out += "\"dataPoints\":[";
  for (const Point& point : points) {
    out += &point == &points.front() ? "{" : ",{";
    put_json_attributes(out, point.series->labels);
    if (point.start != 0) out += fmt::format(",\"startTimeUnixNano\":\"{}\"", point.start);
    out += fmt::format(",\"timeUnixNano\":\"{}\"", point.now);
    if (point.series->distribution) {
      put_json_distribution(out, head, *point.series->distribution);
    } else {
      out += ",\"asDouble\":";
      put_json_number(out, point.series->value);
    }
    out += '}';
  }
  return out + "]}}";
}

}  // namespace

std::uint64_t StartTimes::start_of(const std::string& family, const Series& series, double value,
                                   std::uint64_t now) {
  Seen& seen = series_[family + '\xff' + series_key(series.labels)];
  if (seen.start == 0) {
    const auto created = static_cast<std::uint64_t>(std::max<std::int64_t>(series.created_ms, 0));
    seen.start = created > 0 ? created * 1'000'000 : now;
  } else if (value < seen.value) {
    seen.start = seen.last;
  }
  seen.last = now;
  seen.value = value;
  seen.is_used = true;
  return std::min(seen.start, now);
}

void StartTimes::sweep() {
  for (auto at = series_.begin(); at != series_.end();) {
    at = std::exchange(at->second.is_used, false) ? std::next(at) : series_.erase(at);
  }
}

OtlpRequest otlp_request(const Merge& merge, const std::map<std::string, std::string>& resource,
                         bool is_protobuf, StartTimes& starts, std::uint64_t now) {
  OtlpRequest request;
  std::string metrics;
  for (const Merge::Merged& merged : merge.families()) {
    const Family& head = *merged.head;
    const bool has_start = head.kind != Kind::Gauge && head.kind != Kind::Unknown;
    std::vector<Point> points;
    for (const Merge::Part& part : merged.parts) {
      for (const Series& series : part.family->series) {
        if (part.skipped.contains(&series)) continue;
        const double count = series.distribution ? series.distribution->count : series.value;
        points.push_back(
            {&series, has_start ? starts.start_of(head.name, series, count, now) : 0, now});
      }
    }
    if (points.empty()) continue;
    request.points += points.size();
    if (is_protobuf) {
      put_bytes(metrics, 2, metric_protobuf(head, points));
    } else {
      metrics += (metrics.empty() ? "" : ",") + metric_json(head, points);
    }
  }
  starts.sweep();
  const Labels attributes(resource.begin(), resource.end());
  if (!is_protobuf) {
    request.body = "{\"resourceMetrics\":[{\"resource\":{";
    put_json_attributes(request.body, attributes);
    request.body +=
        fmt::format("}},\"scopeMetrics\":[{{\"scope\":{{\"name\":\"{}\"}},\"metrics\":[{}]}}]}}]}}",
                    kScope, metrics);
    return request;
  }
  std::string scope;
  put_bytes(scope, 1, kScope);
  std::string scope_metrics;
  put_bytes(scope_metrics, 1, scope);
  scope_metrics += metrics;
  std::string attribute_bytes;
  for (const auto& [key, value] : attributes) put_attribute(attribute_bytes, 1, key, value);
  std::string resource_metrics;
  put_bytes(resource_metrics, 1, attribute_bytes);
  put_bytes(resource_metrics, 2, scope_metrics);
  put_bytes(request.body, 1, resource_metrics);
  return request;
}

}  // namespace pillion::metrics
