// Expositions of several sources become one that a scraper takes.
#include <catch2/catch.hpp>

#include "runtime/exposition.h"

using pillion::is_utf8_text;
using pillion::Labels;
using pillion::MergedExposition;

namespace {

const Labels kApp = {{"service", "orders"}, {"child", "app"}};
const Labels kProxy = {{"service", "orders"}, {"child", "proxy"}};

std::string merged(std::string_view text, const Labels& labels = kApp) {
  MergedExposition merge;
  const auto added = merge.add(text, labels);
  return added ? merge.render() : "error: " + added.error().message();
}

}  // namespace

TEST_CASE("labels are put before those of each sample") {
  CHECK(merged("# HELP a Things.\n# TYPE a counter\na 1\na{b=\"x\"} 2\na{} 3 1700000000000\n") ==
        "# HELP a Things.\n# TYPE a counter\n"
        "a{service=\"orders\",child=\"app\"} 1\n"
        "a{service=\"orders\",child=\"app\",b=\"x\"} 2\n");
}

TEST_CASE("a sample that is there already is dropped and counted") {
  MergedExposition merge;
  const auto added = merge.add("a 1\na 2\n", kApp);
  REQUIRE(added);
  CHECK(added->samples == 1);
  CHECK(added->dropped == 1);
}

TEST_CASE("a family that several sources have is written once, with the samples of all") {
  MergedExposition merge;
  REQUIRE(merge.add("# HELP up Of the app.\n# TYPE up gauge\nup 1\n", kApp));
  REQUIRE(merge.add("# TYPE up gauge\nup 0\nother 5\n", kProxy));
  CHECK(merge.render() ==
        "# HELP up Of the app.\n# TYPE up gauge\n"
        "up{service=\"orders\",child=\"app\"} 1\n"
        "up{service=\"orders\",child=\"proxy\"} 0\n"
        "other{service=\"orders\",child=\"proxy\"} 5\n");
}

TEST_CASE("a source that calls a family by another type keeps its samples to itself") {
  MergedExposition merge;
  REQUIRE(merge.add("# TYPE n counter\nn 1\n", kApp));
  const auto added = merge.add("# TYPE n gauge\nn 2\nm 3\n", kProxy);
  REQUIRE(added);
  CHECK(added->samples == 1);
  CHECK(added->dropped == 1);
  CHECK(merge.render().find("child=\"proxy\"} 2") == std::string::npos);
}

TEST_CASE("histograms and summaries stay together with their suffixes") {
  const std::string text = merged(
      "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"
      "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n");
  CHECK(text ==
        "# TYPE h histogram\n"
        "h_bucket{service=\"orders\",child=\"app\",le=\"1\"} 1\n"
        "h_bucket{service=\"orders\",child=\"app\",le=\"+Inf\"} 2\n"
        "h_sum{service=\"orders\",child=\"app\"} 3\n"
        "h_count{service=\"orders\",child=\"app\"} 2\n"
        "# TYPE s summary\n"
        "s{service=\"orders\",child=\"app\",quantile=\"0.5\"} 1\n"
        "s_sum{service=\"orders\",child=\"app\"} 1\n"
        "s_count{service=\"orders\",child=\"app\"} 1\n");
}

TEST_CASE("a label that we give is kept under another name, as Prometheus does") {
  CHECK(merged("a{child=\"mine\",exported_child=\"old\"} 1\n", {{"child", "app"}}) ==
        "error: line 1: label twice: exported_child");
  CHECK(merged("a{child=\"mine\"} 1\n", {{"child", "app"}}) ==
        "a{child=\"app\",exported_child=\"mine\"} 1\n");
}

TEST_CASE("counters, exemplars and the end mark of OpenMetrics are understood") {
  CHECK(merged("# TYPE r counter\n# HELP r Requests.\n# UNIT r requests\n"
               "r_total{c=\"a # b\"} 17.0 # {trace=\"x\"} 0.6\n# EOF\n",
               {{"child", "app"}}) ==
        "# HELP r Requests.\n# TYPE r counter\n"
        "# HELP r_total Requests.\n# TYPE r_total counter\n"
        "r_total{child=\"app\",c=\"a # b\"} 17.0\n");
}

TEST_CASE("values as the format has them, and nothing else") {
  for (const char* value : {"0", "-1.5e-3", "+Inf", "-Inf", "NaN", "1e400", "+3"}) {
    CHECK(merged("a " + std::string(value) + "\n", {}) == "a " + std::string(value) + "\n");
  }
  for (const char* value : {"", "one", "1x", "0x10", "--1", "1 2 3", "1 2.5"}) {
    CHECK(merged("a " + std::string(value) + "\n", {}).starts_with("error: line 1: "));
  }
}

TEST_CASE("what a scraper would refuse is refused with its line, and nothing of it is taken") {
  MergedExposition merge;
  const std::pair<const char*, const char*> cases[] = {
      {"ok 1\n<html>\n", "line 2: does not begin with a metric's name"},
      {"a{b=\"x} 1\n", "line 1: the value of label b does not end"},
      {"a{b=\"\\x\"} 1\n", "line 1: the value of label b is not quoted properly"},
      {"a{b} 1\n", "line 1: label b has no value"},
      {"a{b=\"1\",b=\"2\"} 1\n", "line 1: label twice: b"},
      {"a{b=\"1\" c=\"2\"} 1\n", "line 1: the labels do not end"},
      {"a{__name__=\"b\"} 1\n", "line 1: a label has no proper name"},
      {"a{b=\"\xff\"} 1\n", "line 1: is not UTF-8"},
  };
  for (const auto& [text, problem] : cases) {
    const auto added = merge.add(text, {});
    REQUIRE_FALSE(added);
    CHECK(added.error().message() == problem);
  }
  CHECK(merge.render().empty());
}

TEST_CASE("a source with more samples than the limit is refused") {
  std::string text;
  for (std::size_t i = 0; i <= MergedExposition::kSamplesMax; ++i) {
    text += "a{n=\"" + std::to_string(i) + "\"} 1\n";
  }
  CHECK(merged(text, {}) == "error: line 50001: more than 50000 samples");
}

TEST_CASE("help texts keep only escapes that the format knows") {
  CHECK(merged("# HELP a C:\\dir and \\n and \\\\\n# TYPE a gauge\na 1\r\n", {}) ==
        "# HELP a C:\\\\dir and \\n and \\\\\n# TYPE a gauge\na 1\n");
}

TEST_CASE("UTF-8 is what RFC 3629 says") {
  CHECK(is_utf8_text("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x9a\x80"));
  for (const char* text : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"}) {
    CHECK_FALSE(is_utf8_text(text));
  }
  CHECK_FALSE(is_utf8_text(std::string_view("\0", 1)));
}
