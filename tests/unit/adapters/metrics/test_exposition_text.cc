// Documents for scrapers, and sources that contradict each other.
#include <catch2/catch.hpp>
#include <limits>

#include "adapters/metrics/formats/exposition_parser.h"
#include "adapters/metrics/model/exposition_text.h"

namespace pillion::metrics {
namespace {

std::shared_ptr<const Families> finished(Families families, Naming naming = {},
                                         std::size_t max = 1000) {
  Refused refused;
  return std::make_shared<Families>(finish(std::move(families), naming, max, refused));
}

std::string rendered(std::shared_ptr<const Families> families, TextFormat format,
                     bool has_created = false) {
  Merge merge;
  merge.add("a", std::move(families));
  return merge.render(format, has_created);
}

}  // namespace

TEST_CASE("Both formats of one counter, with unit, help and start") {
  Families families;
  Family& family = families.family("cpu", Kind::Counter, "Time \"spent\"\nby \\ us.", "seconds");
  family.series.push_back({{{"core", "0"}}, 2.5, nullptr, 1'700'000'000'250});
  const auto all = finished(std::move(families));
  CHECK(rendered(all, TextFormat::Prometheus) ==
        "# HELP cpu_seconds_total Time \"spent\"\\nby \\\\ us.\n"
        "# TYPE cpu_seconds_total counter\ncpu_seconds_total{core=\"0\"} 2.5\n");
  CHECK(
      rendered(all, TextFormat::OpenMetrics, true) ==
      "# HELP cpu_seconds Time \\\"spent\\\"\\nby \\\\ us.\n"
      "# TYPE cpu_seconds counter\n# UNIT cpu_seconds seconds\n"
      "cpu_seconds_total{core=\"0\"} 2.5\ncpu_seconds_created{core=\"0\"} 1700000000.25\n# EOF\n");
}

TEST_CASE("Label values are escaped, odd numbers spelled") {
  Families families;
  families.add("g", Kind::Gauge, std::numeric_limits<double>::infinity(), {{"p", "a\"b\\c\nd"}});
  families.add("n", Kind::Unknown, std::numeric_limits<double>::quiet_NaN());
  const auto all = finished(std::move(families));
  CHECK(rendered(all, TextFormat::Prometheus) ==
        "# TYPE g gauge\ng{p=\"a\\\"b\\\\c\\nd\"} +Inf\n# TYPE n untyped\nn NaN\n");
  CHECK(rendered(all, TextFormat::OpenMetrics) ==
        "# TYPE g gauge\ng{p=\"a\\\"b\\\\c\\nd\"} +Inf\n# TYPE n unknown\nn NaN\n# EOF\n");
}

TEST_CASE("Prefix and labels are added; a label of that name is kept as exported") {
  Families families;
  families.add("up", Kind::Gauge, 1, {{"env", "inside"}, {"b", ""}, {"zone", "z"}});
  Naming naming;
  naming.prefix = "app_";
  naming.labels = {{"env", "prod"}};
  CHECK(rendered(finished(std::move(families), naming), TextFormat::Prometheus) ==
        "# TYPE app_up gauge\napp_up{env=\"prod\",exported_env=\"inside\",zone=\"z\"} 1\n");
}

TEST_CASE("Duplicates, contradictions and what is beyond the limit are left out and counted") {
  Families families;
  families.add("a.b", Kind::Gauge, 1);
  families.add("a-b", Kind::Gauge, 2);
  families.add("a_b", Kind::Histogram, 3);
  families.add("c", Kind::Gauge, 1, {{"x", "1"}});
  families.add("c", Kind::Gauge, 1, {{"x", "2"}});
  Refused refused;
  const Families left = finish(std::move(families), {}, 2, refused);
  CHECK(left.series_count() == 2);
  CHECK(refused.duplicates == 1);
  CHECK(refused.conflicts == 1);
  CHECK(refused.over_limit == 1);
  CHECK(refused.example == "a_b comes twice with the same labels");
}

TEST_CASE("Of sources that contradict each other the first one is shown") {
  Families a, b, c;
  a.add("jobs", Kind::Gauge, 1, {{"q", "x"}});
  b.add("jobs", Kind::Gauge, 2, {{"q", "x"}});
  b.add("jobs", Kind::Gauge, 3, {{"q", "y"}});
  c.add("jobs", Kind::Unknown, 4);
  Merge merge;
  merge.add("a", finished(std::move(a)));
  merge.add("b", finished(std::move(b)));
  merge.add("c", finished(std::move(c)));
  CHECK(merge.render(TextFormat::Prometheus, false) ==
        "# TYPE jobs gauge\njobs{q=\"x\"} 1\njobs{q=\"y\"} 3\n");
  CHECK(merge.series_left_out() == 2);
  CHECK(merge.conflicts() ==
        std::vector<std::string>{"b: jobs comes from a, too, with the same labels",
                                 "c: jobs is a unknown here, a gauge in a"});
}

TEST_CASE("Samples of different families do not share a name") {
  Families a, b;
  Family& family = a.family("t", Kind::Histogram);
  family.series.push_back({{}, 0, std::make_unique<Distribution>(), 0});
  b.add("t_count", Kind::Gauge, 1);
  b.add("t_total", Kind::Counter, 1);
  Merge merge;
  merge.add("a", finished(std::move(a)));
  merge.add("b", finished(std::move(b)));
  CHECK(merge.conflicts().size() == 1);
  const std::string text = merge.render(TextFormat::OpenMetrics, false);
  CHECK(text.find("# TYPE t_total unknown\nt_total 1\n") != std::string::npos);
  CHECK(text.find("t_count 1\n") == std::string::npos);
}

TEST_CASE("The scraper's wish decides the format") {
  CHECK(choose_format("") == TextFormat::Prometheus);
  CHECK(choose_format("*/*") == TextFormat::Prometheus);
  CHECK(choose_format("application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
                      "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1") ==
        TextFormat::OpenMetrics);
  CHECK(choose_format("application/openmetrics-text; version=0.0.1") == TextFormat::Prometheus);
  CHECK(choose_format("text/plain, application/openmetrics-text;q=0.2") == TextFormat::Prometheus);
}

TEST_CASE("What we write, we read back the same") {
  const std::string text =
      "# HELP req_seconds Time.\n# TYPE req_seconds histogram\n"
      "req_seconds_bucket{path=\"/\",le=\"0.1\"} 1\nreq_seconds_bucket{path=\"/\",le=\"+Inf\"} 3\n"
      "req_seconds_sum{path=\"/\"} 1.5\nreq_seconds_count{path=\"/\"} 3\n"
      "# TYPE lag summary\nlag{quantile=\"0.5\"} 0.25\nlag_sum 9\nlag_count 4\n"
      "# TYPE hits_total counter\nhits_total 7\n# TYPE old counter\nold 2\n";
  for (const TextFormat format : {TextFormat::Prometheus, TextFormat::OpenMetrics}) {
    auto families = parse_exposition(text, {});
    REQUIRE(families);
    Naming naming;
    naming.keeps_counters = true;
    const std::string first = rendered(finished(std::move(*families), naming), format);
    CHECK(first.find("\nold 2\n") != std::string::npos);
    auto again = parse_exposition(first, {});
    REQUIRE(again);
    CHECK(rendered(finished(std::move(*again), naming), format) == first);
    if (format == TextFormat::Prometheus) CHECK(first == text);
  }
}

TEST_CASE("Exemplars and timestamps are left out, broken lines named") {
  const auto good = parse_exposition(
      "# TYPE a counter\na_total{x=\"1\"} 5 1700000000 # {trace=\"t\"} 1\n# EOF\n", {});
  REQUIRE(good);
  CHECK(good->all().front().kind == Kind::Counter);
  CHECK(good->all().front().series.front().value == 5);
  CHECK(parse_exposition("a 1\nb{x=1} 2\n", {}).error().message() ==
        "line 2: b: the value of label x is not quoted");
  CHECK(parse_exposition("a one\n", {}).error().message() == "line 1: a: \"one\" is no number");
  config::PrometheusInput only;
  only.keep = {"app_*"};
  only.drop = {"*_debug"};
  const auto kept = parse_exposition("app_a 1\napp_debug 1\ngo_x 1\n", only);
  REQUIRE(kept);
  CHECK(kept->series_count() == 1);
}

}  // namespace pillion::metrics
