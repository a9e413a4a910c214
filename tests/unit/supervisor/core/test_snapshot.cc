// A supervisor that starts again under running children.
#include <catch2/catch.hpp>

#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;
using pillion::Duration;
using pillion::MonotonicTime;

namespace {

constexpr Duration kBootOffset = std::chrono::hours(5);

// As a new supervisor would: through the state file's text, on a clock of its own.
CoreDriver restart(const CoreDriver& driver, const std::vector<Survivor>& survivors,
                   Duration pause = Duration::zero()) {
  const Duration boot_now = driver.now.time_since_epoch() + kBootOffset;
  const auto parsed = parse_snapshot(to_json(driver.core.snapshot(driver.now, boot_now)));
  REQUIRE(parsed);
  const MonotonicTime now{std::chrono::hours(2)};
  return CoreDriver(Core::restore(driver.core.plan(), 2, *parsed, survivors, now, boot_now + pause),
                    now);
}

std::vector<Survivor> all_alive() {
  return {{"logs", 1, 100, {}, false},
          {"vault", 1, 100, {}, false},
          {"proxy", 1, 100, {}, false},
          {"app", 1, 100, {}, false}};
}

}  // namespace

TEST_CASE("a restarted supervisor goes on without touching a child or re-running an init task") {
  CoreDriver before(classic_plan());
  before.run_classic();
  CoreDriver after = restart(before, all_alive());
  CHECK_FALSE(after.find<Spawn>());
  CHECK_FALSE(after.find<SendSignal>());
  CHECK_FALSE(after.find<EnableCapture>());
  CHECK(after.find<PublishReadiness>()->is_ready);
  CHECK(after.status().state == ServiceState::Running);
  CHECK(after.status().children[kApp].generation == 1);
}

TEST_CASE("the stop's deadline goes on through a restart of the supervisor") {
  CoreDriver before(classic_plan());
  before.run_classic();
  before.send(StopRequested{std::nullopt, true, "SIGTERM"});
  before.advance(seconds(10));
  CoreDriver after = restart(before, all_alive(), seconds(5));
  CHECK(after.status().stop_deadline_in == seconds(15));
  CHECK(after.was_signalled(kApp, 15));  // once more: the first may not have been sent
  after.advance(seconds(10));
  CHECK(after.has<KillCgroup>(kApp));
}

TEST_CASE("an exit during the supervisor's absence is acted on") {
  CoreDriver before(classic_plan());
  before.run_classic();
  auto survivors = all_alive();
  SECTION("with its status") { survivors[3].exited = exited(1); }
  SECTION("without any trace") { survivors.pop_back(); }
  CoreDriver after = restart(before, survivors);
  CHECK(after.find<Spawn>(kApp)->generation == 2);
  CHECK(after.status().children[kApp].last_exit.has_value());
}

TEST_CASE("a spawn that was recorded but never happened is done now") {
  CoreDriver before(lone_app_plan());
  CoreDriver after = restart(before, {});
  CHECK(after.find<Spawn>(0)->generation == 2);
  CHECK(after.status().children[0].restarts == 0);
}

TEST_CASE("a process of another generation is killed before a new one starts") {
  CoreDriver before(lone_app_plan());
  before.spawned(0);
  before.exit(0, exited(1));
  before.send(Spawned{0, 2, 101});
  CoreDriver after = restart(before, {{"app", 1, 100, {}, false}});
  CHECK(after.find<KillCgroup>(0)->generation == 1);
  after.advance(seconds(5));
  CHECK_FALSE(after.has<Spawn>(0));
  CHECK(after.status().why == "app an earlier generation has not ended");
  after.send(Exited{0, 1, killed_by(9)});
  REQUIRE(after.has<Spawn>(0));
  CHECK(after.find<Spawn>(0)->generation == 3);
}

TEST_CASE("backoff goes on through a restart of the supervisor") {
  CoreDriver before(lone_app_plan());
  for (int i = 0; i < 4; ++i) {
    before.spawned(0);
    before.exit(0, exited(1));
    if (i < 3) before.advance(seconds(5));
  }
  REQUIRE(before.status().children[0].restart_in == seconds(4));
  CoreDriver after = restart(before, {}, seconds(1));
  CHECK(after.status().children[0].restart_in == seconds(3));
  after.advance(seconds(3));
  CHECK(after.has<Spawn>(0));
}

TEST_CASE("rubbish is not taken for a state") {
  CHECK_FALSE(parse_snapshot(""));
  CHECK_FALSE(parse_snapshot("{}"));
  CHECK_FALSE(parse_snapshot("[1,2]"));
  CHECK_FALSE(parse_snapshot(R"({"version":99,"children":[]})"));
  CHECK_FALSE(parse_snapshot(R"({"version":1,"state":77,"children":[]})"));
  CHECK_FALSE(parse_snapshot(R"({"version":1,"children":[{"state":"x"}]})"));
}
