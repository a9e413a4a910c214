// What statsd lines mean, and which are refused.
#include <catch2/catch.hpp>

#include "adapters/metrics/statsd/statsd_line.h"

namespace pillion::metrics {
namespace {

using config::StatsdType;

std::vector<StatsdSample> samples_of(std::string_view text, StatsdProblem& problem) {
  StatsdLine line(text);
  std::vector<StatsdSample> samples;
  StatsdSample sample;
  while (line.next(sample)) samples.push_back(sample);
  problem = line.problem();
  return samples;
}

StatsdSample one(std::string_view text) {
  StatsdProblem problem;
  const auto samples = samples_of(text, problem);
  INFO(text);
  REQUIRE(problem == StatsdProblem::None);
  REQUIRE(samples.size() == 1);
  return samples.front();
}

StatsdProblem problem_of(std::string_view text) {
  StatsdProblem problem;
  samples_of(text, problem);
  return problem;
}

std::string tags_of(std::string_view text, std::string* name = nullptr) {
  StatsdTags tags;
  std::string buffer;
  const std::string_view plain = split_name(one(text), tags, buffer);
  if (name != nullptr) *name = plain;
  std::string out;
  for (const auto& [key, value] : tags) out += key + "=" + value + ";";
  return out;
}

}  // namespace

TEST_CASE("A line gives name, value, type and rate") {
  const StatsdSample counter = one("shop.orders:3|c|@0.1");
  CHECK(counter.name == "shop.orders");
  CHECK(counter.value == 3);
  CHECK(counter.type == StatsdType::Counter);
  CHECK(counter.rate == 0.1);
  CHECK(one("a:12.75|ms").type == StatsdType::Timer);
  CHECK(one("a:1e3|h").value == 1000);
  CHECK(one("a:-4.5|d").value == -4.5);
  CHECK(one("a:user-7|s|#x:y").text == "user-7");
}

TEST_CASE("A gauge with a sign changes the gauge") {
  CHECK(one("g:+5|g").is_delta);
  CHECK(one("g:-5|g").value == -5);
  CHECK_FALSE(one("g:5|g").is_delta);
}

TEST_CASE("One line may hold several values, or several samples of plain statsd") {
  StatsdProblem problem;
  const auto packed = samples_of("a:1:2.5:3|h|#t:v", problem);
  REQUIRE(packed.size() == 3);
  CHECK(packed[1].value == 2.5);
  CHECK(packed[2].tags == "t:v");
  const auto groups = samples_of("foo:200|ms:300|ms:5|c|@0.1:15|g", problem);
  REQUIRE(problem == StatsdProblem::None);
  REQUIRE(groups.size() == 4);
  CHECK(groups[2].rate == 0.1);
  CHECK(groups[3].type == StatsdType::Gauge);
  CHECK(groups[3].rate == 1);
}

TEST_CASE("Tags of five styles are read") {
  std::string name;
  CHECK(tags_of("a.b:1|c|#region:eu,vip,url:http://x", &name) ==
        "region=eu;vip=true;url=http://x;");
  CHECK(name == "a.b");
  CHECK(tags_of("a,k=v,k2=v2:1|c", &name) == "k=v;k2=v2;");
  CHECK(name == "a");
  CHECK(tags_of("a#k=v:1|c", &name) == "k=v;");
  CHECK(tags_of("a;k=v;l=w:1|c", &name) == "k=v;l=w;");
  CHECK(tags_of("a[k=v,l=w].b:1|c", &name) == "k=v;l=w;");
  CHECK(name == "a.b");
}

TEST_CASE("Fields of DogStatsD that say nothing about the value are skipped") {
  CHECK(one("a:1|c|@0.5|#x:y|c:ci-0123|T1656581400|e:it-false").tags == "x:y");
}

TEST_CASE("What cannot be read is told by its kind") {
  CHECK(problem_of("nothing") == StatsdProblem::Malformed);
  CHECK(problem_of(":1|c") == StatsdProblem::Malformed);
  CHECK(problem_of("a:1") == StatsdProblem::Malformed);
  CHECK(problem_of("a:|c") == StatsdProblem::Malformed);
  CHECK(problem_of("a:x|c") == StatsdProblem::BadNumber);
  CHECK(problem_of("a:-1|c") == StatsdProblem::BadNumber);
  CHECK(problem_of("a:nan|ms") == StatsdProblem::BadNumber);
  CHECK(problem_of("a:1|zz") == StatsdProblem::BadType);
  CHECK(problem_of("a:1|c|@0") == StatsdProblem::BadRate);
  CHECK(problem_of("a:1|c|@1.5") == StatsdProblem::BadRate);
  CHECK(problem_of("a:1|c|what") == StatsdProblem::Malformed);
  CHECK(problem_of("_e{5,4}:title|text") == StatsdProblem::Unsupported);
  CHECK(problem_of("_sc|name|0") == StatsdProblem::Unsupported);
  CHECK(problem_of(std::string(5000, 'a') + ":1|c") == StatsdProblem::TooLong);
}

TEST_CASE("A bad value does not take back the good ones before it") {
  StatsdProblem problem;
  CHECK(samples_of("a:1:x:3|c", problem).size() == 1);
  CHECK(problem == StatsdProblem::BadNumber);
}

}  // namespace pillion::metrics
