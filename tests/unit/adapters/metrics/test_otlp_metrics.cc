// OTLP bodies, start times and what receivers answer.
#include <catch2/catch.hpp>
#include <limits>

#include "adapters/metrics/output/otlp_metrics.h"

namespace pillion::metrics {
namespace {

Merge merge_of(Families families) {
  Refused refused;
  Merge merge;
  merge.add("a", std::make_shared<Families>(finish(std::move(families), {}, 100, refused)));
  return merge;
}

Families example() {
  Families families;
  families.add("hits", Kind::Counter, 7, {{"code", "200"}}, "Hits.");
  families.add("fill", Kind::Gauge, 0.5);
  Family& times = families.family("t", Kind::Histogram, "", "seconds");
  auto whole = std::make_unique<Distribution>();
  whole->bounds = {0.1, 1};
  whole->values = {1, 3};
  whole->sum = 4.5;
  whole->count = 4;
  times.series.push_back({{}, 0, std::move(whole), 2'000});
  return families;
}

}  // namespace

TEST_CASE("The JSON of counters, gauges and histograms") {
  StartTimes starts;
  const OtlpRequest request =
      otlp_request(merge_of(example()), {{"service.name", "shop"}}, false, starts, 5'000'000'000);
  CHECK(request.points == 3);
  CHECK(
      request.body ==
      R"({"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":)"
      R"({"stringValue":"shop"}}]},"scopeMetrics":[{"scope":{"name":"pillion-metrics"},"metrics":[)"
      R"({"name":"hits_total","description":"Hits.","sum":{"aggregationTemporality":2,)"
      R"("isMonotonic":true,"dataPoints":[{"attributes":[{"key":"code","value":)"
      R"({"stringValue":"200"}}],"startTimeUnixNano":"5000000000","timeUnixNano":"5000000000",)"
      R"("asDouble":7}]}},{"name":"fill","gauge":{"dataPoints":[{"attributes":[],)"
      R"("timeUnixNano":"5000000000","asDouble":0.5}]}},{"name":"t_seconds","unit":"s",)"
      R"("histogram":{"aggregationTemporality":2,"dataPoints":[{"attributes":[],)"
      R"("startTimeUnixNano":"2000000000","timeUnixNano":"5000000000","count":"4","sum":4.5,)"
      R"("bucketCounts":["1","2","1"],"explicitBounds":[0.1,1]}]}}]}]}]})");
}

TEST_CASE("A count that is none is pushed as zero") {
  Families families;
  auto whole = std::make_unique<Distribution>();
  whole->bounds = {1};
  whole->values = {-3};
  whole->count = std::numeric_limits<double>::quiet_NaN();
  families.family("t", Kind::Histogram).series.push_back({{}, 0, std::move(whole), 0});
  StartTimes starts;
  const OtlpRequest request = otlp_request(merge_of(std::move(families)), {}, false, starts, 1);
  CHECK(request.body.find(R"("count":"0")") != std::string::npos);
  CHECK(request.body.find(R"("bucketCounts":["0","0"])") != std::string::npos);
}

TEST_CASE("A counter that went back began anew after the last push") {
  StartTimes starts;
  const Series series;
  CHECK(starts.start_of("a", series, 5, 100) == 100);
  CHECK(starts.start_of("a", series, 9, 200) == 100);
  CHECK(starts.start_of("a", series, 2, 300) == 200);
  CHECK(starts.start_of("a", series, 3, 400) == 200);
  starts.sweep();
  starts.sweep();
  CHECK(starts.start_of("a", series, 4, 500) == 500);
}

}  // namespace pillion::metrics
