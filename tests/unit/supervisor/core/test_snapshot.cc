// A supervisor that starts again under running children.
#include <catch2/catch.hpp>

#include "supervisor/core/replan.h"
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

TEST_CASE("what a probe has counted goes on through a restart of the supervisor") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].gate = Gate::StartupProbe;
  plan.children[0].startup_probe = ProbePlan{};
  plan.children[0].startup_probe->failure_threshold = 3;
  CoreDriver before(plan);
  before.spawned(0);
  for (int i = 0; i < 2; ++i) {
    const auto run = before.find<RunProbe>(0);
    REQUIRE(run);
    before.send(
        ProbeFinished{0, 1, ProbeKind::Startup, run->sequence, ProbeResult::Failure, "refused"});
    before.advance(seconds(10));
  }
  CoreDriver after = restart(before, {{"app", 1, 100, {}, false}});
  CHECK(after.status().why == "app startup probe failed 2/3: refused");
  after.advance(seconds(1));  // the run that was lost is made again within a second
  const auto run = after.find<RunProbe>(0);
  REQUIRE(run);
  after.send(ProbeFinished{0, 1, ProbeKind::Startup, run->sequence, ProbeResult::Failure, ""});
  CHECK(after.was_signalled(0, 15));
}

TEST_CASE("readiness does not flap when the supervisor starts again, nor outlive its process") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].readiness_probe = ProbePlan{};
  CoreDriver before(plan);
  before.spawned(0);
  const auto run = before.find<RunProbe>(0);
  REQUIRE(run);
  before.send(ProbeFinished{0, 1, ProbeKind::Readiness, run->sequence, ProbeResult::Success, ""});
  REQUIRE(before.status().is_ready);
  SECTION("the same process") {
    CoreDriver after = restart(before, {{"app", 1, 100, {}, false}});
    CHECK(after.find<PublishReadiness>()->is_ready);
  }
  SECTION("another one") {
    CoreDriver after = restart(before, {{"app", 1, 100, exited(1), false}});
    CHECK_FALSE(after.find<PublishReadiness>()->is_ready);
    after.spawned(0);
    CHECK_FALSE(after.status().is_ready);
  }
}

TEST_CASE("each gate that was seen, or is still to be seen, survives the supervisor") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].gate = GENERATE(Gate::Notify, Gate::NotificationFd, Gate::LogLine, Gate::File);
  const Gate gate = plan.children[0].gate;
  CoreDriver before(plan);
  before.spawned(0);
  before.advance(seconds(20));
  CoreDriver after = restart(before, {{"app", 1, 100, {}, false}}, seconds(10));
  CHECK(after.find<WatchGate>().has_value() == (gate != Gate::Notify));
  SECTION("opens") {
    if (gate == Gate::Notify) {
      after.ready(0);
    } else {
      after.send(GateSeen{0, 1});
    }
    CHECK(after.state(0) == ChildState::Running);
    CoreDriver again = restart(after, {{"app", 1, 100, {}, false}});
    CHECK(again.state(0) == ChildState::Running);
    CHECK_FALSE(again.find<WatchGate>());
  }
  SECTION("does not open within the time that is left") {
    after.advance(seconds(29));
    CHECK_FALSE(after.find<SendSignal>());
    after.advance(seconds(1));
    CHECK(after.was_signalled(0, 15));
  }
}

TEST_CASE("a pre_stop hook of a replacement is run again with the time that is left") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].pre_stop = HookPlan{};
  CoreDriver before(plan);
  before.spawned(0);
  before.send(RestartRequested{0});
  before.advance(seconds(10));
  CoreDriver after = restart(before, {{"app", 1, 100, {}, false}}, seconds(5));
  CHECK(after.find<RunHook>(0)->timeout == seconds(15));
  after.send(HookFinished{0, 1, HookKind::PreStop, true, ""});
  CHECK(after.was_signalled(0, 15));
}

TEST_CASE("a restart of the whole service goes on through a restart of the supervisor") {
  CoreDriver before(lone_app_plan());
  before.spawned(0);
  before.send(RestartServiceRequested{"pillion restart"});
  CoreDriver after = restart(before, {{"app", 1, 100, exited(0), false}});
  CHECK(after.find<Spawn>(0)->generation == 2);
  CHECK_FALSE(after.find<Finish>());
}

TEST_CASE("a reload goes on through a restart of the supervisor") {
  CoreDriver before(classic_plan());
  before.run_classic();
  ServicePlan plan = classic_plan();
  plan.children.erase(plan.children.begin() + kVault);
  plan.children[2].dependencies = {0, 1};
  plan.children[3].dependencies = {0, 1, 2};
  before.send(Replan{plan, {{"logs", ChildChange::Replace}, {"app", ChildChange::Replace}}});
  REQUIRE(before.was_signalled(kLogs, 15));

  const Duration boot_now = before.now.time_since_epoch() + kBootOffset;
  const auto parsed = parse_snapshot(to_json(before.core.snapshot(before.now, boot_now)));
  REQUIRE(parsed);
  CHECK(slot_names(plan, &*parsed) ==
        std::vector<std::string>{"setup", "logs", "vault", "proxy", "app"});
  SECTION("with the file that was taken over") {
    CoreDriver after(Core::restore(plan, 2, *parsed, all_alive(), before.now, boot_now),
                     before.now);
    after.exit(kLogs, exited(0));
    CHECK(after.find<Spawn>(kLogs)->generation == 2);
    after.spawned(kLogs);
    CHECK_FALSE(after.has<SendSignal>(kApp));
    after.ready(kLogs);
    CHECK(after.was_signalled(kApp, 15));
    CHECK_FALSE(after.has<SendSignal>(kVault));
    after.exit(kApp, exited(0));
    CHECK(after.was_signalled(kVault, 15));
    after.exit(kVault, exited(0));
    CHECK_FALSE(after.has_slot(kVault));
  }
  SECTION("with the old file, when the new one was not yet written") {
    CoreDriver after(Core::restore(classic_plan(), 2, *parsed, all_alive(), before.now, boot_now),
                     before.now);
    after.exit(kLogs, exited(0));
    after.spawned(kLogs);
    after.ready(kLogs);
    CHECK_FALSE(after.child(kVault).is_leaving);
    after.exit(kVault, exited(1));
    CHECK(after.has<Spawn>(kVault));
  }
}

TEST_CASE("a deploy goes on, or is rolled back, through a restart of the supervisor") {
  const ChildId next = 5;
  CoreDriver before(classic_plan());
  before.run_classic();
  ChildPlan app = classic_plan().children[kApp];
  app.readiness_probe = ProbePlan{};
  before.send(DeployRequested{app});
  before.spawned(next);
  auto survivors = all_alive();
  survivors.push_back({"app", 2, 101, {}, false});
  const auto again = [&](bool is_known) {
    const Duration boot_now = before.now.time_since_epoch() + kBootOffset;
    const auto parsed = parse_snapshot(to_json(before.core.snapshot(before.now, boot_now)));
    REQUIRE(parsed);
    ServicePlan plan = classic_plan();
    if (is_known) plan.candidate = app;
    return CoreDriver(Core::restore(plan, 2, *parsed, survivors, before.now, boot_now), before.now);
  };
  SECTION("warming up, with the candidate's configuration") {
    CoreDriver after = again(true);
    CHECK_FALSE(after.find<SendSignal>());
    after.advance(seconds(1));
    const auto run = after.find<RunProbe>(next);
    REQUIRE(run);
    after.send(
        ProbeFinished{next, 2, ProbeKind::Readiness, run->sequence, ProbeResult::Success, ""});
    CHECK(after.find<ShiftTraffic>()->to == next);
  }
  SECTION("warming up, without it") {
    CoreDriver after = again(false);
    CHECK(after.was_signalled(next, 15));
    CHECK_FALSE(after.has<SendSignal>(kApp));
  }
  SECTION("shifting: asked for again") {
    const auto run = before.find<RunProbe>(next);
    REQUIRE(run);
    before.send(
        ProbeFinished{next, 2, ProbeKind::Readiness, run->sequence, ProbeResult::Success, ""});
    CoreDriver after = again(true);
    CHECK(after.find<ShiftTraffic>()->to == next);
    SECTION("and after the shift, promoted again") {
      before.send(TrafficShifted{next});
      CoreDriver promoted = again(true);
      CHECK(promoted.find<PromoteApp>()->slot == next);
      CHECK(promoted.was_signalled(kApp, 15));
      promoted.exit(kApp, exited(0));
      CHECK(promoted.find<EndDeploy>()->gone == kApp);
      promoted.exit(next, exited(1));
      CHECK(promoted.find<Spawn>(next)->generation == 3);
    }
  }
}

TEST_CASE("every state of a run survives being written down, and is the same when read") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(DeployRequested{classic_plan().children[kApp]});
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  const Duration boot_now = driver.now.time_since_epoch() + kBootOffset;
  const std::string text = to_json(driver.core.snapshot(driver.now, boot_now));
  const auto parsed = parse_snapshot(text);
  REQUIRE(parsed);
  CHECK(to_json(*parsed) == text);
}

TEST_CASE("rubbish is not taken for a state") {
  CHECK_FALSE(parse_snapshot(""));
  CHECK_FALSE(parse_snapshot("{}"));
  CHECK_FALSE(parse_snapshot("[1,2]"));
  CHECK_FALSE(parse_snapshot(R"({"version":99,"children":[]})"));
  CHECK_FALSE(parse_snapshot(R"({"version":1,"state":77,"children":[]})"));
  CHECK_FALSE(parse_snapshot(R"({"version":1,"children":[{"state":"x"}]})"));
  CHECK_FALSE(parse_snapshot(R"({"version":1,"children":[{"membership":9}]})"));
  CHECK_FALSE(parse_snapshot(R"({"version":1,"children":[{"dependencies":[1]}]})"));
  CHECK_FALSE(parse_snapshot(R"({"version":1,"children":[],"deploy":{"current":3}})"));
}
