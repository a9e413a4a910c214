// What an operator may ask of a running service: stop, start, restart and retry of a child, and a
// restart of the whole.
#include <catch2/catch.hpp>

#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;
using pillion::Duration;

TEST_CASE(
    "a child that an operator stops gets pre_stop, its signal, and stays down until started") {
  ServicePlan plan = classic_plan();
  plan.children[kLogs].pre_stop = HookPlan{};
  CoreDriver driver(plan);
  driver.run_classic();
  driver.send(StopChildRequested{kLogs, seconds(10)});
  CHECK(driver.state(kLogs) == ChildState::PreStop);
  CHECK(driver.find<RunHook>(kLogs)->timeout == seconds(10));
  CHECK_FALSE(driver.has<SendSignal>(kLogs));
  driver.send(HookFinished{kLogs, 1, HookKind::PreStop, true, ""});
  CHECK(driver.was_signalled(kLogs, 15));
  driver.exit(kLogs, exited(0));
  CHECK(driver.state(kLogs) == ChildState::Stopped);
  driver.advance(std::chrono::hours(1));
  CHECK(driver.state(kLogs) == ChildState::Stopped);
  CHECK(driver.status().state == ServiceState::Running);
  CHECK_FALSE(driver.status().is_ready);
  CHECK(driver.status().why == "logs was stopped");

  driver.send(StartChildRequested{kLogs});
  REQUIRE(driver.has<Spawn>(kLogs));
  driver.spawned(kLogs);
  driver.ready(kLogs);
  CHECK(driver.status().is_ready);
}

TEST_CASE("an operator's stop is bounded by its own grace") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(StopChildRequested{0, seconds(3)});
  driver.advance(seconds(3));
  CHECK(driver.has<KillCgroup>(0));

  CoreDriver at_once(lone_app_plan());
  at_once.spawned(0);
  at_once.send(StopChildRequested{0, Duration::zero()});
  CHECK(at_once.has<KillCgroup>(0));
  CHECK_FALSE(at_once.has<SendSignal>(0));
}

TEST_CASE("a stop during backoff ends the waiting") {
  CoreDriver driver(lone_app_plan());
  for (int i = 0; i < 2; ++i) {
    driver.spawned(0);
    driver.exit(0, exited(1));
  }
  REQUIRE(driver.state(0) == ChildState::Backoff);
  driver.send(StopChildRequested{0, {}});
  CHECK(driver.state(0) == ChildState::Stopped);
  driver.advance(std::chrono::minutes(5));
  CHECK_FALSE(driver.has<Spawn>(0));
}

TEST_CASE("a start while the child is still being stopped starts it again when it is gone") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(StopChildRequested{0, {}});
  driver.send(StartChildRequested{0});
  CHECK_FALSE(driver.has<Spawn>(0));
  driver.exit(0, exited(0));
  CHECK(driver.find<Spawn>(0)->generation == 2);
}

TEST_CASE("concurrent restarts of one child make one new generation") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  for (int i = 0; i < 5; ++i) driver.send(RestartRequested{0});
  driver.exit(0, exited(0));
  CHECK(driver.find<Spawn>(0)->generation == 2);
  driver.send(RestartRequested{0});
  CHECK_FALSE(driver.find<Spawn>());
  driver.spawned(0);
  CHECK(driver.state(0) == ChildState::Running);
  CHECK(driver.status().children[0].restarts == 0);  // wishes are no failures
}

TEST_CASE("a restart of a child that waits for another one does not start it before its turn") {
  CoreDriver driver(classic_plan());
  driver.send(NetworkCreated{});
  driver.send(RestartRequested{kApp});
  driver.send(StartChildRequested{kApp});
  driver.send(RetryRequested{kApp});
  CHECK(driver.generation(kApp) == 0);
  CHECK(driver.state(kApp) == ChildState::Waiting);
}

TEST_CASE("an app that has finished runs again when an operator starts it, an init task does not") {
  ServicePlan plan = classic_plan();
  plan.children[kApp].exit_actions[0] = ExitAction::Hold;
  CoreDriver driver(plan);
  driver.run_classic();
  driver.exit(kApp, exited(0));
  REQUIRE(driver.state(kApp) == ChildState::Completed);
  driver.send(StartChildRequested{kApp});
  CHECK(driver.has<Spawn>(kApp));
  driver.send(StartChildRequested{kSetup});
  CHECK(driver.reports(EventKind::RequestRefused).size() == 1);
  CHECK_FALSE(driver.has<Spawn>(kSetup));
}

TEST_CASE("a restart of the service goes down in order, runs init again and keeps the network") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(StopChildRequested{kVault, {}});
  driver.exit(kVault, exited(0));
  driver.send(RestartServiceRequested{"pillion restart"});
  CHECK_FALSE(driver.find<PublishReadiness>().value_or(PublishReadiness{false}).is_ready);
  CHECK(driver.was_signalled(kApp, 15));
  CHECK_FALSE(driver.has<SendSignal>(kProxy));
  driver.exit(kApp, exited(0));
  CHECK(driver.was_signalled(kProxy, 15));
  driver.exit(kProxy, exited(0));
  CHECK(driver.was_signalled(kLogs, 15));
  driver.exit(kLogs, exited(0));
  CHECK_FALSE(driver.find<RemoveNetwork>());
  CHECK_FALSE(driver.find<Finish>());
  CHECK(driver.status().state == ServiceState::Starting);
  REQUIRE(driver.find<Spawn>(kSetup)->generation == 2);
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(0));
  for (const ChildId helper : {kLogs, kVault, kProxy}) {
    REQUIRE(driver.has<Spawn>(helper));
    driver.spawned(helper);
    CHECK_FALSE(driver.has<Spawn>(kApp));
    driver.ready(helper);
  }
  CHECK_FALSE(driver.find<EnableCapture>());  // it is live still
  REQUIRE(driver.has<Spawn>(kApp));
  driver.spawned(kApp);
  CHECK(driver.status().is_ready);
}

TEST_CASE("a stop turns a restart of the service into a stop") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(RestartServiceRequested{""});
  driver.advance(seconds(5));
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  CHECK(driver.status().stop_deadline_in == seconds(25));
  driver.exit(0, exited(0));
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 0);
}

TEST_CASE("restart_all waits for the backoff of the child that asked for it") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].exit_actions[3] = ExitAction::RestartAll;
  CoreDriver driver(plan);
  driver.spawned(0);
  driver.exit(0, exited(3));
  CHECK(driver.has<Spawn>(0));  // the first one is immediate
  driver.spawned(0);
  driver.exit(0, exited(3));
  CHECK_FALSE(driver.has<Spawn>(0));
  driver.advance(milliseconds(999));
  CHECK_FALSE(driver.has<Spawn>(0));
  driver.advance(milliseconds(1));
  CHECK(driver.has<Spawn>(0));
}

TEST_CASE("operators' requests during a stop are refused, not queued") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  driver.send(RestartRequested{kProxy});
  CHECK(driver.reports(EventKind::RequestRefused).size() == 1);
  driver.send(StartChildRequested{kApp});
  CHECK(driver.reports(EventKind::RequestRefused).size() == 1);
  driver.send(RestartServiceRequested{""});
  CHECK(driver.reports(EventKind::RequestRefused).size() == 1);
  CHECK_FALSE(driver.find<Spawn>());
}
