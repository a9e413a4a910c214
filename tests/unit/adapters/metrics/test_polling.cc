// When a source is asked again, and what SQL rows become.
#include <catch2/catch.hpp>

#include "adapters/metrics/poll/postgresql.h"
#include "adapters/metrics/source.h"

namespace pillion::metrics {

using namespace std::chrono_literals;

TEST_CASE("A source that answers is asked every period, a failing one ever more seldom") {
  CHECK(next_wait(15s, 0) == 15s);
  CHECK(next_wait(15s, 1) == 1s);
  CHECK(next_wait(15s, 3) == 4s);
  CHECK(next_wait(15s, 20) == 60s);
  CHECK(next_wait(15s, 4'000'000) == 60s);
  CHECK(next_wait(300s, 20) == 300s);
  CHECK(next_wait(100ms, 1) == 100ms);
}

TEST_CASE("A source that fails loses its series, and gets them back") {
  struct Answers final : Asker {
    OnAnswer on_answer;
    void ask(std::chrono::milliseconds, OnAnswer next) override { on_answer = std::move(next); }
  };
  Loop loop;
  ManualClock clock;
  SeriesBudget budget(3);
  auto asker = std::make_unique<Answers>();
  Answers& answers = *asker;
  config::MetricsInput input;
  input.name = "it";
  input.period = 100ms;
  {
    PolledSource source(loop, clock, input, {}, budget, std::move(asker));
    source.start();
    const auto wait_for_question = [&] {
      while (!answers.on_answer) loop.run_once(false);
    };
    wait_for_question();
    CHECK_FALSE(source.is_up());
    CHECK(source.trouble() == "has not answered yet");
    Families families;
    for (int i = 0; i < 5; ++i) families.add("a", Kind::Gauge, i, {{"i", std::to_string(i)}});
    std::exchange(answers.on_answer, nullptr)(std::move(families));
    CHECK(source.is_up());
    CHECK(source.families()->series_count() == 3);
    CHECK(budget.used() == 3);
    CHECK(source.refused() == 2);
    CHECK(source.trouble() == "there is no room for a");
    wait_for_question();
    std::exchange(answers.on_answer, nullptr)(fail("gone"));
    CHECK_FALSE(source.is_up());
    CHECK(source.trouble() == "gone");
    CHECK(budget.used() == 0);
    wait_for_question();
    std::exchange(answers.on_answer, nullptr)(Families());
    CHECK(source.is_up());
    CHECK(source.trouble().empty());
  }
  CHECK(budget.used() == 0);
}

TEST_CASE("A blocking question ends with its asker") {
  Loop loop;
  int asked = 0;
  {
    auto asker = make_blocking_asker(loop, [&](const Deadline& deadline) -> Result<Families> {
      ++asked;
      auto ready = wait_for(-1, 0, deadline);
      return fail(ready.error());
    });
    std::string why;
    asker->ask(20ms, [&](Result<Families> answer) { why = answer.error().message(); });
    while (why.empty()) loop.run_once();
    CHECK(why == "no answer in time");
    asker->ask(1h, [&](Result<Families>) { FAIL("nobody asks any more"); });
  }
  CHECK(asked >= 1);
}

TEST_CASE("SQL rows: labels, counters, gauges, NULLs") {
  SqlRows rows;
  rows.columns = {"db", "n", "b", "x"};
  rows.rows = {{"a", "5", "t", "words"}, {"b", std::nullopt, "f", "1.5"}};
  config::SqlQuery query;
  query.name = "q";
  query.labels = {"db"};
  query.counters = {"n"};
  query.gauges = {"b", "x"};
  Families families;
  REQUIRE(add_rows(rows, query, families));
  CHECK(families.find("q_n")->series.size() == 1);
  CHECK(families.find("q_b")->series[0].value == 1);
  CHECK(families.find("q_x")->series[0].labels == Labels{{"db", "b"}});
  query.gauges = {"none"};
  CHECK(add_rows(rows, query, families).error().message() == "the result has no column \"none\"");
}

}  // namespace pillion::metrics
