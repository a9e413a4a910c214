// The registry against the Prometheus text format.
#include <catch2/catch.hpp>

#include "runtime/metrics.h"

using namespace pillion;

TEST_CASE("counters and gauges render with help, type and labels in order") {
  Registry registry;
  registry.counter("requests_total", "Requests served.", {{"code", "200"}}).add(3);
  registry.counter("requests_total", "Requests served.", {{"code", "500"}}).add();
  registry.gauge("open", "Open connections.").set(2.5);
  CHECK(registry.render() ==
        "# HELP open Open connections.\n# TYPE open gauge\nopen 2.5\n"
        "# HELP requests_total Requests served.\n# TYPE requests_total counter\n"
        "requests_total{code=\"200\"} 3\nrequests_total{code=\"500\"} 1\n");
}

TEST_CASE("the same name and labels give the same metric") {
  Registry registry;
  Counter& first = registry.counter("a_total", "A.", {{"x", "1"}});
  CHECK(&registry.counter("a_total", "A.", {{"x", "1"}}) == &first);
  CHECK(&registry.counter("a_total", "A.", {{"x", "2"}}) != &first);
}

TEST_CASE("label values and help are escaped") {
  Registry registry;
  registry.gauge("g", "line\nbreak \\", {{"path", "a\"b\\c\nd"}}).set(1);
  CHECK(registry.render() ==
        "# HELP g line\\nbreak \\\\\n# TYPE g gauge\ng{path=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST_CASE("a histogram's buckets are cumulative and a value on a bound belongs to it") {
  Registry registry;
  Histogram& histogram = registry.histogram("h", "H.", {0.1, 1});
  histogram.observe(0.1);
  histogram.observe(0.5);
  histogram.observe(7);
  CHECK(registry.render() ==
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"1\"} 2\n"
        "h_bucket{le=\"+Inf\"} 3\nh_sum 7.6\nh_count 3\n");
}

TEST_CASE("a collector writes its samples at every render") {
  Registry registry;
  std::uint64_t scrapes = 0;
  registry.add_collector([&](MetricsWriter& writer) {
    writer.begin_family("scrapes_total", MetricType::Counter, "Scrapes.");
    writer.sample({}, ++scrapes);
  });
  (void)registry.render();
  CHECK(registry.render() ==
        "# HELP scrapes_total Scrapes.\n# TYPE scrapes_total counter\nscrapes_total 2\n");
}
