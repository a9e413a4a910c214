// Restart policy, backoff, probes and the watchdog.
#include <catch2/catch.hpp>

#include "supervisor/core/backoff.h"
#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;

TEST_CASE("backoff starts at nothing, doubles from its base and stays below its maximum") {
  BackoffPlan plan;
  plan.jitter = 0;
  Random random(1);
  CHECK(next_backoff(plan, 0, random) == seconds(0));
  CHECK(next_backoff(plan, 1, random) == seconds(1));
  CHECK(next_backoff(plan, 2, random) == seconds(2));
  CHECK(next_backoff(plan, 6, random) == seconds(32));
  CHECK(next_backoff(plan, 7, random) == seconds(60));
  CHECK(next_backoff(plan, 4'000'000'000u, random) == seconds(60));
  plan.jitter = 0.2;
  for (int i = 0; i < 1000; ++i) {
    const auto delay = next_backoff(plan, 4, random);
    CHECK(delay >= milliseconds(6'400));
    CHECK(delay <= milliseconds(9'600));
  }
}

TEST_CASE("ten minutes of running reset the backoff") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.exit(0, exited(1));
  driver.spawned(0);
  driver.exit(0, exited(1));
  CHECK(driver.state(0) == ChildState::Backoff);
  driver.advance(seconds(1));
  driver.spawned(0);
  driver.advance(std::chrono::minutes(10));
  driver.exit(0, exited(1));
  CHECK(driver.has<Spawn>(0));
  CHECK(driver.status().children[0].restarts == 3);
}

TEST_CASE("an operator's retry does not wait for the backoff") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.exit(0, exited(1));
  driver.spawned(0);
  driver.exit(0, exited(1));
  REQUIRE(driver.state(0) == ChildState::Backoff);
  driver.send(RetryRequested{0});
  CHECK(driver.has<Spawn>(0));
}

TEST_CASE("too many restarts in the window: give up, and act on it") {
  ServicePlan plan = classic_plan();
  plan.children[kProxy].max_restarts = 1;
  plan.children[kProxy].on_give_up =
      GENERATE(OnGiveUp::Hold, OnGiveUp::StopService, OnGiveUp::Exit);
  CoreDriver driver(plan);
  driver.run_classic();
  driver.exit(kProxy, exited(1));
  driver.spawned(kProxy);
  driver.exit(kProxy, exited(1));
  CHECK(driver.state(kProxy) == ChildState::Failed);
  CHECK(driver.status().children[kProxy].why == "gave up after 1 restarts: exited with 1");
  if (plan.children[kProxy].on_give_up == OnGiveUp::Hold) {
    CHECK(driver.status().state == ServiceState::Running);
    CHECK_FALSE(driver.status().is_ready);
    return;
  }
  REQUIRE(driver.was_signalled(kApp, 15));
  driver.exit(kApp, exited(0));
  for (const ChildId child : {kVault, kLogs}) driver.exit(child, exited(0));
  driver.send(NetworkRemoved{});
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 70);
}

TEST_CASE("exit actions decide by exit code") {
  ServicePlan plan = classic_plan();
  plan.children[kApp].exit_actions = {
      {3, ExitAction::RestartAll}, {4, ExitAction::Stop}, {5, ExitAction::Hold}};
  CoreDriver driver(plan);
  driver.run_classic();
  SECTION("restart_all") {
    driver.exit(kApp, exited(3));
    CHECK(driver.was_signalled(kProxy, 15));
    CHECK_FALSE(driver.was_signalled(kVault, 15));
    for (const ChildId helper : {kProxy, kVault, kLogs}) driver.exit(helper, exited(0));
    CHECK(driver.status().state == ServiceState::Starting);
    CHECK(driver.has<Spawn>(kSetup));
    CHECK_FALSE(driver.find<RemoveNetwork>());
  }
  SECTION("stop") {
    driver.exit(kApp, exited(4));
    CHECK(driver.status().state == ServiceState::StoppingHelpers);
  }
  SECTION("hold") {
    driver.exit(kApp, exited(5));
    CHECK(driver.state(kApp) == ChildState::Failed);
    CHECK(driver.status().state == ServiceState::Running);
    driver.send(RetryRequested{kApp});
    CHECK(driver.has<Spawn>(kApp));
  }
}

TEST_CASE("a restart of the app waits for a dead sidecar, not for a dead adapter") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  SECTION("adapter") {
    driver.exit(kLogs, exited(1));
    driver.exit(kApp, exited(1));
    CHECK(driver.has<Spawn>(kApp));
  }
  SECTION("sidecar") {
    driver.exit(kProxy, exited(1));
    driver.exit(kApp, exited(1));
    CHECK_FALSE(driver.has<Spawn>(kApp));
    driver.spawned(kProxy);
    driver.ready(kProxy);
    CHECK(driver.has<Spawn>(kApp));
  }
}

TEST_CASE("a readiness probe moves readiness by its thresholds and restarts nothing") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].readiness_probe = ProbePlan{};
  plan.children[0].readiness_probe->success_threshold = 2;
  CoreDriver driver(plan);
  driver.spawned(0);
  const auto answer = [&](ProbeResult result) {
    const auto run = driver.find<RunProbe>(0);
    REQUIRE(run);
    driver.send(ProbeFinished{0, 1, ProbeKind::Readiness, run->sequence, result, "HTTP 503"});
    const bool is_ready = driver.status().is_ready;
    driver.advance(seconds(10));
    return is_ready;
  };
  CHECK_FALSE(answer(ProbeResult::Success));
  CHECK(answer(ProbeResult::Success));
  CHECK(answer(ProbeResult::Failure));
  CHECK(answer(ProbeResult::ProberError));
  CHECK(answer(ProbeResult::Failure));
  CHECK_FALSE(answer(ProbeResult::Timeout));
  CHECK(driver.status().why == "app readiness probe failed 3/3: HTTP 503");
  CHECK(driver.state(0) == ChildState::Running);
}

TEST_CASE("a failed liveness probe replaces the generation with the probe's own grace") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].liveness_probe = ProbePlan{};
  plan.children[0].liveness_probe->failure_threshold = 1;
  plan.children[0].liveness_probe->termination_grace = seconds(3);
  CoreDriver driver(plan);
  driver.spawned(0);
  const auto run = driver.find<RunProbe>(0);
  REQUIRE(run);
  driver.send(ProbeFinished{0, 1, ProbeKind::Liveness, run->sequence, ProbeResult::Timeout, ""});
  CHECK(driver.was_signalled(0, 15));
  driver.advance(seconds(3));
  CHECK(driver.has<KillCgroup>(0));
  driver.exit(0, killed_by(9));
  CHECK(driver.has<Spawn>(0));
}

TEST_CASE("a probe that the host never answers counts as a timeout and is never doubled") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].readiness_probe = ProbePlan{};
  CoreDriver driver(plan);
  driver.spawned(0);
  REQUIRE(driver.has<RunProbe>(0));
  driver.advance(milliseconds(2'999));
  CHECK_FALSE(driver.has<RunProbe>(0));
  driver.advance(milliseconds(1));
  CHECK(driver.has<CancelProbe>(0));
  CHECK_FALSE(driver.has<RunProbe>(0));
  driver.advance(seconds(7));
  CHECK(driver.find<RunProbe>(0)->sequence == 2);
}

TEST_CASE("a silent watchdog replaces the generation") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].watchdog = seconds(5);
  CoreDriver driver(plan);
  driver.spawned(0);
  driver.advance(seconds(4));
  driver.send(Notified{0, 1, Notified::Kind::Watchdog, ""});
  driver.advance(seconds(4));
  CHECK_FALSE(driver.has<SendSignal>(0));
  driver.advance(seconds(1));
  CHECK(driver.was_signalled(0, 15));
}

TEST_CASE("STOPPING=1 makes a child not ready") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  REQUIRE(driver.status().is_ready);
  driver.send(Notified{kProxy, 1, Notified::Kind::Stopping, ""});
  CHECK_FALSE(driver.find<PublishReadiness>()->is_ready);
  driver.ready(kProxy);
  CHECK(driver.find<PublishReadiness>()->is_ready);
}
