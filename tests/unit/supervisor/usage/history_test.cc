// Distributions of use, their keeping, and what is recommended from them.
#include <catch2/catch.hpp>

#include "supervisor/usage/history.h"
#include "supervisor/usage/quantity_text.h"
#include "supervisor/usage/recommendation.h"

using namespace pillion::supervisor::usage;

namespace {
constexpr double kMebibyte = 1 << 20;

ChildHistory busy_history() {
  ChildHistory history;
  for (int i = 0; i < 90; ++i) {
    history.cpu_millis.add(100);
    history.working_set_bytes.add(50 * kMebibyte);
  }
  for (int i = 0; i < 10; ++i) {
    history.cpu_millis.add(800);
    history.working_set_bytes.add(80 * kMebibyte);
  }
  history.observed_seconds = 1000;
  history.generations = 1;
  history.memory_peak_bytes = 90u << 20;
  return history;
}
}  // namespace

TEST_CASE("a quantile is right within five percent") {
  Distribution distribution;
  for (int i = 1; i <= 1000; ++i) distribution.add(i * 1000.0);
  for (const double q : {0.01, 0.5, 0.9, 0.99}) {
    CHECK(distribution.quantile(q) == Approx(q * 1e6).epsilon(0.051));
  }
  CHECK(distribution.quantile(1) <= distribution.max());
  CHECK(distribution.max() == 1e6);
  CHECK(Distribution{}.quantile(0.9) == 0);
}

TEST_CASE("odd values count somewhere and break nothing") {
  Distribution distribution;
  distribution.add(0);
  distribution.add(-5);
  distribution.add(1e30);
  CHECK(distribution.count() == 3);
  CHECK(distribution.quantile(0.5) == 0);
  CHECK(distribution.max() == Distribution::kValueMax);
}

TEST_CASE("what is old is forgotten in the end") {
  Distribution distribution;
  for (std::uint64_t i = 0; i < Distribution::kSamplesMax; ++i) distribution.add(10);
  for (std::uint64_t i = 0; i < 2 * Distribution::kSamplesMax; ++i) distribution.add(1000);
  CHECK(distribution.count() <= Distribution::kSamplesMax);
  CHECK(distribution.quantile(0.3) > 900);
}

TEST_CASE("a history survives being written and read") {
  History history{{"app", busy_history()}};
  history["app"].oom_kills = 3;
  const auto read = parse_history(to_json(history));
  REQUIRE(read);
  CHECK(*read == history);
  CHECK_FALSE(parse_history("{}"));
  CHECK_FALSE(parse_history("rubbish"));
  CHECK_FALSE(parse_history(R"({"children":{"app":{"cpu_millis":1}}})"));
}

TEST_CASE("a kept distribution with impossible buckets is cleaned") {
  const auto distribution = Distribution::from({{-7, 5}, {3, 2}, {9999, 1}, {4, 1u << 30}}, 1e300);
  CHECK(distribution.count() == 2);
  CHECK(distribution.max() == Distribution::kValueMax);
}

TEST_CASE("requests come from P90 and limits from twice P99, never below what was seen") {
  GivenResources given;
  given.cpu_limit_millis = 2000;
  const auto result = recommend("app", "app", given, busy_history());
  REQUIRE(result.is_possible);
  CHECK(result.is_thin);
  CHECK(*result.recommended.cpu_request_millis == Approx(100).epsilon(0.15));
  CHECK(*result.recommended.cpu_limit_millis == Approx(1600).epsilon(0.06));
  CHECK(static_cast<double>(*result.recommended.memory_request_bytes) ==
        Approx(50 * kMebibyte).epsilon(0.06));
  CHECK(static_cast<double>(*result.recommended.memory_limit_bytes) ==
        Approx(160 * kMebibyte).epsilon(0.06));
  const std::string patch = to_toml_patch({result});
  INFO(patch);
  CHECK(patch.find("[app]\nrequests = { cpu = \"") != std::string::npos);
  CHECK(patch.find("100 samples over 16m 40s of running, 1 generation; that is little") !=
        std::string::npos);
  CHECK(patch.find("cpu was 2,") != std::string::npos);
}

TEST_CASE("after a kill for lack of memory the limit only grows") {
  GivenResources given;
  given.memory_limit_bytes = 400u << 20;
  ChildHistory history = busy_history();
  history.oom_kills = 1;
  const auto result = recommend("app", "app", given, history);
  CHECK(*result.recommended.memory_limit_bytes == 600u << 20);
}

TEST_CASE("nothing observed, nothing recommended") {
  const auto result = recommend("web", "sidecar.web", {}, {});
  CHECK_FALSE(result.is_possible);
  CHECK(to_toml_patch({result}) == "# web: nothing was observed yet\n");
  CHECK(to_json(std::vector{result}).find(R"("possible":false)") != std::string::npos);
}

TEST_CASE("quantities are told in few words") {
  CHECK(describe_bytes(512) == "512 B");
  CHECK(describe_bytes(1536) == "1.5 KiB");
  CHECK(describe_bytes(64 * kMebibyte) == "64 MiB");
  CHECK(describe_cpu(250) == "250m");
  CHECK(describe_cpu(1500) == "1.5");
  CHECK(describe_span(59.9) == "59s");
  CHECK(describe_span(7320) == "2h 2m");
  CHECK(describe_span(90000) == "1d 1h");
}
