// Statsd lines out of records.
#include <catch2/catch.hpp>

#include "adapters/logs/output/statsd_lines.h"

namespace pillion::logs {
namespace {

std::string lines_of(const config::LogMetric& metric, std::string_view record) {
  auto lines = StatsdLines::compile({metric});
  REQUIRE(lines);
  std::string out;
  lines->append(record, out);
  return out;
}

config::LogMetric metric_of(config::LogMetricType type, std::optional<std::string> value) {
  config::LogMetric metric;
  metric.name = "m";
  metric.type = type;
  metric.value = std::move(value);
  return metric;
}

constexpr std::string_view kRecord =
    R"({"@timestamp":"2024-01-15T14:32:01Z","log.level":"info","status":"PA|I,D\n","n":5,"f":-2.5,"t":"7.25","e":""})";

}  // namespace

TEST_CASE("A counter without a value counts records that match") {
  using config::LogMetricType;
  config::LogMetric metric = metric_of(LogMetricType::Counter, std::nullopt);
  metric.labels = {{"level", "log.level"}, {"status", "status"}, {"none", "nothing"}, {"e", "e"}};
  CHECK(lines_of(metric, kRecord) == "m:1|c|#level:info,status:PA_I_D_\n");
  metric.labels.clear();
  metric.match = {{"log.level", "^info$"}, {"n", "5"}};
  CHECK(lines_of(metric, kRecord) == "m:1|c\n");
  metric.match = {{"log.level", "^warn$"}};
  CHECK(lines_of(metric, kRecord).empty());
  metric.match = {{"nothing", ".*"}};
  CHECK(lines_of(metric, kRecord).empty());
}

TEST_CASE("Values come from numbers and from texts that are numbers") {
  using config::LogMetricType;
  CHECK(lines_of(metric_of(LogMetricType::Counter, "n"), kRecord) == "m:5|c\n");
  CHECK(lines_of(metric_of(LogMetricType::Counter, "f"), kRecord).empty());
  CHECK(lines_of(metric_of(LogMetricType::Timer, "t"), kRecord) == "m:7.25|ms\n");
  CHECK(lines_of(metric_of(LogMetricType::Histogram, "f"), kRecord) == "m:-2.5|h\n");
  CHECK(lines_of(metric_of(LogMetricType::Gauge, "n"), kRecord) == "m:5|g\n");
  CHECK(lines_of(metric_of(LogMetricType::Gauge, "f"), kRecord) == "m:0|g\nm:-2.5|g\n");
  CHECK(lines_of(metric_of(LogMetricType::Set, "status"), kRecord) == "m:PA_I,D_|s\n");
  CHECK(lines_of(metric_of(LogMetricType::Timer, "status"), kRecord).empty());
}

}  // namespace pillion::logs
