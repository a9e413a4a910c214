// What samples add up to: names, labels, mappings, limits, time.
#include <catch2/catch.hpp>
#include <cmath>

#include "adapters/metrics/model/exposition_text.h"
#include "adapters/metrics/statsd/quantile_sketch.h"
#include "adapters/metrics/statsd/statsd_store.h"

namespace pillion::metrics {
namespace {

using namespace std::chrono_literals;

class Lab {
 public:
  explicit Lab(config::StatsdInput config = {}, std::size_t max = 100)
      : budget(max), store(std::move(config), {}, budget) {}

  void take(std::string_view text) { store.take(text, time); }
  std::string text() {
    Merge merge;
    merge.add("statsd", store.snapshot(time));
    std::string lines;
    std::string all = merge.render(TextFormat::Prometheus, false);
    for (std::size_t at = 0; at < all.size();) {
      const auto end = all.find('\n', at);
      if (all[at] != '#') lines += all.substr(at, end + 1 - at);
      at = end + 1;
    }
    return lines;
  }
  void pass(std::chrono::milliseconds span) {
    time.now_ms += span.count();
    time.wall_ms += span.count();
  }

  SeriesBudget budget;
  StatsdStore store;
  StatsdStore::Time time{3'600'000, 1'700'000'000'000};
};

}  // namespace

TEST_CASE("Counters add up with their rate, gauges are set and moved") {
  Lab lab;
  lab.take("hits:1|c\nhits:2|c|@0.5\r\nfill:10|g\nfill:-3|g\nfill:+1|g\n");
  CHECK(lab.text() == "fill 8\nhits_total 5\n");
  CHECK(lab.store.counts().samples == 5);
}

TEST_CASE("Timers become histograms in seconds, weighted by their rate") {
  config::StatsdInput config;
  config.buckets = {0.1, 1};
  Lab lab(config);
  lab.take("t:50|ms\nt:500|ms|@0.1\nt:5000|ms\nsize:0.5|h\nsize:7|d");
  CHECK(lab.text() ==
        "size_bucket{le=\"0.1\"} 0\nsize_bucket{le=\"1.0\"} 1\nsize_bucket{le=\"+Inf\"} 2\n"
        "size_sum 7.5\nsize_count 2\n"
        "t_seconds_bucket{le=\"0.1\"} 1\nt_seconds_bucket{le=\"1.0\"} 11\n"
        "t_seconds_bucket{le=\"+Inf\"} 12\nt_seconds_sum 10.05\nt_seconds_count 12\n");
}

TEST_CASE("Summaries tell quantiles of their window") {
  config::StatsdInput config;
  config.observations = config::ObservationForm::Summary;
  config.quantiles = {0.5};
  config.window = 60s;
  Lab lab(config);
  for (int i = 1; i <= 1000; ++i) lab.take("t:" + std::to_string(i) + "|ms");
  const std::string text = lab.text();
  const double median = std::stod(text.substr(text.find("} ") + 2));
  CHECK(median == Approx(0.5).epsilon(0.02));
  lab.pass(120s);
  CHECK(lab.text() ==
        "t_seconds{quantile=\"0.5\"} NaN\nt_seconds_sum 500.5\nt_seconds_count 1000\n");
}

TEST_CASE("Sets count different values of the last full window") {
  config::StatsdInput config;
  config.window = 10s;
  Lab lab(config);
  lab.take("users:a|s\nusers:b|s\nusers:a|s");
  CHECK(lab.text() == "users 2\n");
  lab.pass(10s);
  CHECK(lab.text() == "users 2\n");
  lab.take("users:c|s");
  CHECK(lab.text() == "users 2\n");
  lab.pass(10s);
  CHECK(lab.text() == "users 1\n");
  lab.pass(10s);
  CHECK(lab.text() == "users 0\n");
}

TEST_CASE("Tags in another order are the same series") {
  Lab lab;
  lab.take("a:1|c|#x:1,y:2\na:1|c|#y:2,x:1\na,y=2,x=1:1|c\na:1|c");
  CHECK(lab.text() == "a_total 1\na_total{x=\"1\",y=\"2\"} 3\n");
  CHECK(lab.budget.used() == 2);
}

TEST_CASE("Mappings turn names into labels, drop, and choose buckets") {
  config::StatsdInput config;
  config.drops_unmapped = true;
  config::StatsdMapping drop;
  drop.match = "noise.*";
  drop.is_dropped = true;
  config::StatsdMapping requests;
  requests.match = "*.api.*.time";
  requests.type = config::StatsdType::Timer;
  requests.name = "api_request_duration_seconds";
  requests.labels = {{"service", "$1"}, {"route", "$2"}};
  requests.buckets = {1};
  requests.help = "Time.";
  config::StatsdMapping counted;
  counted.match = "*.hits";
  counted.name = "$1_hits";
  config.mappings = {drop, requests, counted};
  Lab lab(config);
  lab.take(
      "noise.x:1|c\nshop.api.pay.time:100|ms\nshop.hits:4|c|#code:200\nother:1|c\nnoise.x:1|c");
  CHECK(lab.text() ==
        "api_request_duration_seconds_bucket{route=\"pay\",service=\"shop\",le=\"1.0\"} 1\n"
        "api_request_duration_seconds_bucket{route=\"pay\",service=\"shop\",le=\"+Inf\"} 1\n"
        "api_request_duration_seconds_sum{route=\"pay\",service=\"shop\"} 0.1\n"
        "api_request_duration_seconds_count{route=\"pay\",service=\"shop\"} 1\n"
        "shop_hits_total{code=\"200\"} 4\n");
  CHECK(lab.store.counts().dropped == 3);
}

TEST_CASE("Series beyond the limit are refused and counted, and may come when others go") {
  config::StatsdInput config;
  config.ttl = 60s;
  Lab lab(config, 2);
  lab.take("a:1|c\nb:1|c\nc:1|c\nc:1|c\na:1|c");
  CHECK(lab.text() == "a_total 2\nb_total 1\n");
  CHECK(lab.store.counts().refused == 2);
  lab.pass(50s);
  lab.take("a:1|c");
  lab.pass(20s);
  lab.store.expire(lab.time);
  CHECK(lab.text() == "a_total 3\n");
  CHECK(lab.budget.used() == 1);
  lab.take("c:5|c\nb:1|c");
  CHECK(lab.text() == "a_total 3\nc_total 5\n");
}

TEST_CASE("A name keeps its first type while it has series") {
  config::StatsdInput config;
  config.ttl = 10s;
  Lab lab(config);
  lab.take("a:1|g\na:4|h");
  CHECK(lab.text() == "a 1\n");
  CHECK(lab.store.counts().conflicts == 1);
  CHECK(lab.store.last_problem() == "a is a gauge already, not a histogram");
  lab.pass(20s);
  lab.store.expire(lab.time);
  lab.take("a:4|h");
  CHECK(lab.text().find("a_count 1\n") != std::string::npos);
}

TEST_CASE("Names and labels are made legal") {
  Lab lab;
  lab.take("1st-try.x/y:1|c|#bad key:v\"1\\,__r:2");
  CHECK(lab.text() == "_1st_try_x_y_total{_r=\"2\",bad_key=\"v\\\"1\\\\\"} 1\n");
}

TEST_CASE("The store gives its series back to the budget") {
  SeriesBudget budget(10);
  {
    StatsdStore store({}, {}, budget);
    store.take("a:1|c\nb:2|c", {});
    CHECK(budget.used() == 2);
  }
  CHECK(budget.used() == 0);
}

TEST_CASE("Quantiles are within one percent, whatever the range") {
  QuantileSketch sketch;
  for (int i = 1; i <= 10'000; ++i) sketch.add(std::pow(1.002, i) * 1e-6, 1, 0, 1000);
  const auto found = sketch.quantiles({0, 0.5, 0.99, 1}, 0, 1000);
  const double wanted[] = {1, 5000, 9900, 10'000};
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i] == Approx(std::pow(1.002, wanted[i]) * 1e-6).epsilon(0.02));
  }
  QuantileSketch mixed;
  for (const double value : {-10.0, -1.0, 0.0, 1.0, 10.0}) mixed.add(value, 1, 0, 1000);
  const auto range = mixed.quantiles({0, 0.5, 1}, 0, 1000);
  CHECK(range[0] == Approx(-10).epsilon(0.01));
  CHECK(range[1] == 0);
  CHECK(range[2] == Approx(10).epsilon(0.01));
}

}  // namespace pillion::metrics
