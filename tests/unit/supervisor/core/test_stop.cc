// The stop: one budget, reverse order, and the receipt.
#include <catch2/catch.hpp>

#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;
using pillion::Duration;

TEST_CASE("a stop ends the app first, then helpers in reverse order, and gives a receipt") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  CHECK_FALSE(driver.find<PublishReadiness>()->is_ready);
  CHECK(driver.has<BeginDrain>(kProxy));
  CHECK(driver.was_signalled(kApp, 15));
  CHECK_FALSE(driver.was_signalled(kProxy, 15));

  driver.advance(seconds(3));
  driver.exit(kApp, exited(0));
  CHECK(driver.was_signalled(kProxy, 15));
  CHECK_FALSE(driver.was_signalled(kVault, 15));
  driver.send(
      Notified{kProxy, 1, Notified::Kind::Receipt, "requests_finished=12 requests_aborted=1"});
  driver.exit(kProxy, exited(0));
  CHECK(driver.was_signalled(kVault, 15));
  driver.exit(kVault, exited(0));
  CHECK(driver.was_signalled(kLogs, 15));
  driver.exit(kLogs, exited(0));
  driver.send(
      Notified{kLogs, 1, Notified::Kind::Receipt, "records_delivered=40 records_dropped=0"});
  REQUIRE(driver.status().state == ServiceState::CleaningUp);
  driver.send(NetworkRemoved{});

  const auto finish = driver.find<Finish>();
  REQUIRE(finish);
  CHECK(finish->exit_code == 0);
  CHECK(finish->receipt.count("requests_finished") == 12);
  CHECK(finish->receipt.count("records_delivered") == 40);
  CHECK(finish->receipt.counts_by_child.at("proxy").at("requests_aborted") == 1);
  CHECK(finish->receipt.killed.empty());
  CHECK(finish->receipt.total == seconds(3));
  CHECK(describe(finish->receipt) ==
        "stopped in 3.00 s, exit code 0 (SIGTERM)\n"
        "  requests    1 aborted, 12 finished\n"
        "  records     40 delivered, 0 dropped\n"
        "  phases      delay and hooks 0.00 s, app 3.00 s, helpers 0.00 s, clean-up 0.00 s\n");
}

TEST_CASE("the app gets its signal after drain_delay and its pre_stop hook, whichever is later") {
  ServicePlan plan = classic_plan();
  plan.drain_delay = seconds(5);
  plan.children[kApp].pre_stop = HookPlan{};
  plan.children[kApp].stop_signal = 2;
  CoreDriver driver(plan);
  driver.run_classic();
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  REQUIRE(driver.has<RunHook>(kApp));
  CHECK_FALSE(driver.has<SendSignal>(kApp));

  SECTION("delay last") {
    driver.send(HookFinished{kApp, 1, HookKind::PreStop, true, ""});
    driver.advance(milliseconds(4999));
    CHECK_FALSE(driver.has<SendSignal>(kApp));
    driver.advance(milliseconds(1));
    CHECK(driver.was_signalled(kApp, 2));
  }
  SECTION("hook last, and its failure does not matter") {
    driver.advance(seconds(8));
    CHECK_FALSE(driver.has<SendSignal>(kApp));
    driver.send(HookFinished{kApp, 1, HookKind::PreStop, false, "HTTP 500"});
    CHECK(driver.was_signalled(kApp, 2));
  }
  SECTION("a second request skips both") {
    driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
    CHECK(driver.was_signalled(kApp, 2));
    CHECK(driver.has<CancelHook>(kApp));
  }
  SECTION("a second request that does not escalate changes nothing") {
    driver.send(StopRequested{std::nullopt, false, "pillion stop"});
    CHECK_FALSE(driver.has<SendSignal>(kApp));
  }
  SECTION("a third request kills all") {
    driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
    driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
    for (const ChildId child : {kLogs, kVault, kProxy, kApp}) CHECK(driver.has<KillCgroup>(child));
  }
}

TEST_CASE("an app that ignores its signal is killed where the helpers' reserve begins") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  driver.advance(milliseconds(24'999));
  CHECK_FALSE(driver.has<KillCgroup>(kApp));
  driver.advance(milliseconds(1));
  CHECK(driver.has<KillCgroup>(kApp));
  driver.exit(kApp, killed_by(9));
  CHECK(driver.was_signalled(kProxy, 15));

  // The proxy hangs too: it may use a third of the reserve, at least two seconds.
  driver.advance(seconds(2));
  CHECK(driver.has<KillCgroup>(kProxy));
  driver.exit(kProxy, killed_by(9));
  CHECK(driver.was_signalled(kVault, 15));
  driver.exit(kVault, exited(0));
  CHECK(driver.was_signalled(kLogs, 15));
  driver.exit(kLogs, exited(0));
  driver.send(NetworkRemoved{});
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 137);
  CHECK(driver.find<Finish>()->receipt.killed == std::vector<std::string>{"proxy", "app"});
}

TEST_CASE("without helpers the app may use the whole grace") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(StopRequested{seconds(10), false, "pillion stop"});
  driver.advance(milliseconds(9'999));
  CHECK_FALSE(driver.has<KillCgroup>(0));
  driver.advance(milliseconds(1));
  CHECK(driver.has<KillCgroup>(0));
}

TEST_CASE("no grace means no hooks and no signals") {
  ServicePlan plan = classic_plan();
  plan.children[kApp].pre_stop = HookPlan{};
  CoreDriver driver(plan);
  driver.run_classic();
  driver.send(StopRequested{Duration::zero(), false, "pillion stop --grace 0s"});
  CHECK_FALSE(driver.find<RunHook>());
  CHECK_FALSE(driver.find<SendSignal>());
  CHECK(driver.has<KillCgroup>(kApp));
}

TEST_CASE("a later stop with less grace shortens the deadline") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(StopRequested{std::nullopt, false, "pillion stop"});
  driver.send(StopRequested{seconds(2), false, "pillion stop"});
  CHECK(driver.status().stop_deadline_in == seconds(2));
  driver.advance(seconds(2));
  CHECK(driver.has<KillCgroup>(0));
}

TEST_CASE("a sidecar that crashes while the app drains is started again without backoff") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.advance(seconds(5));
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  driver.exit(kProxy, killed_by(11));
  REQUIRE(driver.has<Spawn>(kProxy));
  driver.spawned(kProxy);
  driver.ready(kProxy);
  CHECK(driver.has<BeginDrain>(kProxy));
  driver.exit(kProxy, killed_by(11));  // at once again: no busy loop
  CHECK_FALSE(driver.has<Spawn>(kProxy));
  driver.advance(seconds(1));
  CHECK(driver.has<Spawn>(kProxy));
}

TEST_CASE("a stop while starting starts nothing more") {
  CoreDriver driver(classic_plan());
  driver.send(NetworkCreated{});
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(0));
  driver.spawned(kLogs);
  driver.send(StopRequested{std::nullopt, true, "SIGINT"});
  CHECK(driver.was_signalled(kLogs, 15));
  driver.exit(kLogs, killed_by(15));
  CHECK_FALSE(driver.find<Spawn>());
  driver.send(NetworkRemoved{});
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 0);
}

TEST_CASE("what the app leaves behind is terminated, then killed, before helpers stop") {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  driver.send(Exited{kApp, 1, exited(0), true});
  const auto sent = driver.find<SendSignal>(kApp);
  REQUIRE(sent);
  CHECK(sent->target == SignalTarget::Leftovers);
  CHECK_FALSE(driver.has<SendSignal>(kProxy));
  driver.advance(seconds(2));
  CHECK(driver.has<KillCgroup>(kApp));
  driver.send(CgroupEmpty{kApp, 1});
  CHECK(driver.has<ReleaseGeneration>(kApp));
  CHECK(driver.was_signalled(kProxy, 15));
}

TEST_CASE("news of an empty cgroup may overtake the news of the exit") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  driver.send(CgroupEmpty{0, 1});
  driver.send(Exited{0, 1, exited(0), true});
  CHECK(driver.find<Finish>());
}

TEST_CASE("at the deadline who was not signalled gets a last SIGTERM and two seconds") {
  ServicePlan plan = classic_plan();
  plan.sidecar_reserve = Duration::zero();
  CoreDriver driver(plan);
  driver.run_classic();
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  driver.advance(seconds(30));
  CHECK(driver.has<KillCgroup>(kApp));
  CHECK(driver.was_signalled(kLogs, 15));
  CHECK_FALSE(driver.has<KillCgroup>(kLogs));
  driver.advance(seconds(2));
  for (const ChildId child : {kLogs, kVault, kProxy}) CHECK(driver.has<KillCgroup>(child));
}

TEST_CASE("a child that not even SIGKILL ends does not hold the stop for ever") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.send(StopRequested{Duration::zero(), false, "pillion stop"});
  driver.advance(seconds(10));
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 137);
  CHECK(driver.find<Finish>()->receipt.stuck == std::vector<std::string>{"app"});
}

TEST_CASE("the app's own end stops the service when its policy says so") {
  ServicePlan plan = classic_plan();
  plan.children[kApp].restart = RestartPolicy::OnFailure;
  plan.drain_delay = seconds(5);
  CoreDriver driver(plan);
  driver.run_classic();
  driver.exit(kApp, exited(0));
  CHECK(driver.was_signalled(kProxy, 15));  // nobody is left to wait for
  CHECK(driver.status().why.find("stopping (app exited with 0)") == 0);
}

TEST_CASE("exit codes are the app's, as a shell would say them") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].restart = RestartPolicy::Never;
  plan.children[0].success_exit_codes = {143};
  const auto finish_with = [&](ExitStatus status) {
    CoreDriver driver(plan);
    driver.spawned(0);
    driver.exit(0, status);
    return driver.find<Finish>()->exit_code;
  };
  CHECK(finish_with(exited(0)) == 0);
  CHECK(finish_with(exited(3)) == 3);
  CHECK(finish_with(killed_by(9)) == 137);
  CHECK(finish_with(killed_by(15)) == 0);  // 143 is among success_exit_codes
  CHECK(finish_with(ExitStatus{}) == 255);
}
