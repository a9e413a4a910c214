// Machines that stand still, hosts that answer late, twice or never; and cases in which other
// supervisors were wrong once (Pebble, dinit, s6, process-compose, monit).
#include <catch2/catch.hpp>

#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;

namespace {
// The supervisor does not run meanwhile: one late wakeup instead of many.
void stand_still(CoreDriver& driver, pillion::Duration how_long) {
  driver.now += how_long;
  driver.last = driver.core.advance(driver.now);
}
}  // namespace

TEST_CASE("a machine that stood still blames no probe, no watchdog and no slow start") {
  ServicePlan plan = lone_app_plan();
  ChildPlan& app = plan.children[0];
  SECTION("liveness") {
    app.liveness_probe = ProbePlan{};
    app.liveness_probe->failure_threshold = 1;
    CoreDriver driver(plan);
    driver.spawned(0);
    const auto run = driver.find<RunProbe>(0);
    REQUIRE(run);
    stand_still(driver, std::chrono::minutes(5));
    CHECK(driver.reports(EventKind::SupervisorStalled).size() == 1);
    CHECK_FALSE(driver.has<SendSignal>(0));
    driver.send(ProbeFinished{0, 1, ProbeKind::Liveness, run->sequence, ProbeResult::Success, ""});
    CHECK(driver.state(0) == ChildState::Running);
  }
  SECTION("watchdog") {
    app.watchdog = seconds(5);
    CoreDriver driver(plan);
    driver.spawned(0);
    driver.advance(seconds(4));
    stand_still(driver, std::chrono::minutes(5));
    CHECK_FALSE(driver.has<SendSignal>(0));
    driver.send(Notified{0, 1, Notified::Kind::Watchdog, ""});
    driver.advance(seconds(4));
    CHECK_FALSE(driver.has<SendSignal>(0));
    driver.advance(seconds(1));
    CHECK(driver.was_signalled(0, 15));
  }
  SECTION("start_timeout") {
    app.gate = Gate::Notify;
    CoreDriver driver(plan);
    driver.spawned(0);
    driver.advance(seconds(59));
    stand_still(driver, std::chrono::minutes(5));
    CHECK_FALSE(driver.has<SendSignal>(0));
    driver.ready(0);
    CHECK(driver.state(0) == ChildState::Running);
  }
}

TEST_CASE("the deadline of a stop does not move, whatever stood still") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  stand_still(driver, std::chrono::minutes(5));
  CHECK(driver.has<KillCgroup>(0));
}

TEST_CASE("a clock that goes back changes nothing") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  driver.now -= seconds(100);
  driver.last = driver.core.advance(driver.now);
  CHECK_FALSE(driver.has<KillCgroup>(0));
  CHECK(driver.status().stop_deadline_in == seconds(30));
}

TEST_CASE("every piece of news may come twice") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(Exited{kProxy, 1, exited(1), false});
  CHECK(driver.find<Spawn>(kProxy)->generation == 2);
  driver.send(Exited{kProxy, 1, exited(1), false});
  CHECK(driver.last.empty());
  driver.send(Spawned{kProxy, 1, 100});
  driver.send(SpawnFailed{kProxy, 1, "exec", 2, ""});
  driver.send(CgroupEmpty{kProxy, 1});
  driver.send(GateSeen{kProxy, 1});
  driver.send(Notified{kProxy, 1, Notified::Kind::Ready, ""});
  CHECK(driver.state(kProxy) == ChildState::Spawning);
}

TEST_CASE("a check that fails during backoff neither restarts nor counts") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].liveness_probe = ProbePlan{};
  plan.children[0].liveness_probe->failure_threshold = 1;
  CoreDriver driver(plan);
  for (int i = 0; i < 2; ++i) {
    driver.spawned(0);
    driver.exit(0, exited(1));
  }
  REQUIRE(driver.state(0) == ChildState::Backoff);
  driver.send(ProbeFinished{0, 2, ProbeKind::Liveness, 2, ProbeResult::Failure, ""});
  CHECK(driver.state(0) == ChildState::Backoff);
  CHECK(driver.status().children[0].restart_in == seconds(1));
}

TEST_CASE("a grandchild that survives does not hide that its service is dead") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(Exited{0, 1, exited(1), true});
  CHECK_FALSE(driver.status().is_ready);
  CHECK_FALSE(driver.has<Spawn>(0));  // never beside what is left
  driver.advance(seconds(2));
  CHECK(driver.has<KillCgroup>(0));
  driver.send(CgroupEmpty{0, 1});
  CHECK(driver.has<Spawn>(0));
}

TEST_CASE("a child that exits faster than its exec is confirmed is not lost") {
  CoreDriver driver(lone_app_plan());
  driver.exit(0, exited(1));
  CHECK(driver.find<Spawn>(0)->generation == 2);
  driver.send(Spawned{0, 1, 100});
  CHECK(driver.state(0) == ChildState::Spawning);
}

TEST_CASE("a host that reports no spawn at all is given half a minute") {
  CoreDriver driver(lone_app_plan());
  driver.advance(seconds(30));
  CHECK(driver.has<KillCgroup>(0));
  driver.exit(0, ExitStatus{});
  CHECK(driver.has<Spawn>(0));
}

TEST_CASE("a child in uninterruptible sleep blocks its name only, and recovers when it wakes") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(RestartRequested{kVault});
  driver.advance(seconds(40));
  CHECK(driver.state(kVault) == ChildState::Stuck);
  CHECK(driver.reports(EventKind::ChildStuck).size() == 1);
  driver.exit(kApp, exited(1));
  CHECK(driver.has<Spawn>(kApp));
  driver.exit(kVault, killed_by(9));
  CHECK(driver.find<Spawn>(kVault)->generation == 2);
}

TEST_CASE("a gate that is never opened beside a startup probe that succeeds is bounded too") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].gate = Gate::Notify;
  plan.children[0].startup_probe = ProbePlan{};
  CoreDriver driver(plan);
  driver.spawned(0);
  const auto run = driver.find<RunProbe>(0);
  REQUIRE(run);
  driver.send(ProbeFinished{0, 1, ProbeKind::Startup, run->sequence, ProbeResult::Success, ""});
  driver.advance(seconds(59));
  CHECK_FALSE(driver.has<SendSignal>(0));
  driver.advance(seconds(1));
  CHECK(driver.was_signalled(0, 15));
}

TEST_CASE("ten thousand restarts leave nothing behind in the core") {
  CoreDriver driver(lone_app_plan());
  std::size_t size_after_hundred = 0;
  for (int i = 0; i < 10'000; ++i) {
    driver.spawned(0);
    driver.exit(0, exited(1));
    driver.advance(std::chrono::minutes(2));
    if (i == 100) size_after_hundred = to_json(driver.core.snapshot(driver.now, {})).size();
  }
  CHECK(driver.generation(0) == 10'001);
  CHECK(to_json(driver.core.snapshot(driver.now, {})).size() < size_after_hundred + 100);
}
