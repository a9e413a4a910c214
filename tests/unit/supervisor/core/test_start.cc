// Start order, gates, and what holds the app.
#include <catch2/catch.hpp>
#include <cerrno>

#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;

TEST_CASE("children start in order, each after the gate of the one before") {
  CoreDriver driver(classic_plan());
  REQUIRE(driver.find<CreateNetwork>());
  CHECK_FALSE(driver.find<Spawn>());

  driver.send(NetworkCreated{});
  CHECK(driver.has<Spawn>(kSetup));
  CHECK_FALSE(driver.has<Spawn>(kLogs));
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(0));
  REQUIRE(driver.has<Spawn>(kLogs));
  CHECK_FALSE(driver.has<Spawn>(kVault));
  driver.spawned(kLogs);
  CHECK_FALSE(driver.has<Spawn>(kVault));
  driver.ready(kLogs);
  REQUIRE(driver.has<Spawn>(kVault));
  driver.spawned(kVault);
  driver.ready(kVault);
  REQUIRE(driver.has<Spawn>(kProxy));
  driver.spawned(kProxy);
  driver.ready(kProxy);

  SECTION("and the app only when its traffic is captured") {
    REQUIRE(driver.find<EnableCapture>());
    CHECK_FALSE(driver.has<Spawn>(kApp));
    CHECK(driver.status().why == "app waits until its traffic is captured");
    driver.send(CaptureLive{});
    REQUIRE(driver.has<Spawn>(kApp));
    driver.spawned(kApp);
    CHECK(driver.find<PublishReadiness>()->is_ready);
    CHECK(driver.status().state == ServiceState::Running);
  }
  SECTION("and the state is written before each spawn") {
    driver.send(CaptureLive{});
    REQUIRE(driver.last.size() >= 2);
    CHECK(std::holds_alternative<WriteState>(driver.last[0]));
  }
  SECTION("and a capture that fails ends the service with 71") {
    driver.send(CaptureFailed{"nft: no such table"});
    CHECK(driver.was_signalled(kProxy, 15));
    CHECK(driver.status().state == ServiceState::StoppingHelpers);
  }
}

TEST_CASE("a sidecar that dies before the app starts holds the app") {
  CoreDriver driver(classic_plan());
  driver.send(NetworkCreated{});
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(0));
  for (const ChildId helper : {kLogs, kVault, kProxy}) {
    driver.spawned(helper);
    driver.ready(helper);
  }
  driver.exit(kProxy, exited(1));
  CHECK(driver.has<Spawn>(kProxy));
  driver.send(CaptureLive{});
  CHECK_FALSE(driver.has<Spawn>(kApp));
  CHECK(driver.status().why == "app waits for proxy: exec is not confirmed yet");
  driver.spawned(kProxy);
  driver.ready(kProxy);
  CHECK(driver.has<Spawn>(kApp));
}

TEST_CASE("status says which gate the app waits for and why") {
  ServicePlan plan = classic_plan();
  plan.children[kProxy].gate = Gate::StartupProbe;
  plan.children[kProxy].startup_probe = ProbePlan{};
  plan.children[kProxy].startup_probe->period = seconds(1);
  plan.children[kProxy].startup_probe->failure_threshold = 30;
  CoreDriver driver(plan);
  driver.send(NetworkCreated{});
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(0));
  for (const ChildId helper : {kLogs, kVault}) {
    driver.spawned(helper);
    driver.ready(helper);
  }
  driver.spawned(kProxy);
  for (std::uint64_t i = 0; i < 7; ++i) {
    const auto run = driver.find<RunProbe>(kProxy);
    REQUIRE(run);
    driver.send(ProbeFinished{kProxy, 1, ProbeKind::Startup, run->sequence, ProbeResult::Failure,
                              "connection refused"});
    CHECK(driver.status().why.find("app waits for proxy: startup probe failed") == 0);
    driver.advance(seconds(1));
  }
  CHECK(driver.status().why ==
        "app waits for proxy: startup probe failed 7/30: connection refused");

  SECTION("and a success opens it") {
    const auto run = driver.find<RunProbe>(kProxy);
    driver.send(
        ProbeFinished{kProxy, 1, ProbeKind::Startup, run->sequence, ProbeResult::Success, ""});
    CHECK(driver.find<EnableCapture>());
  }
}

TEST_CASE(
    "a helper that never gets ready is replaced after start_timeout, and the app never starts") {
  CoreDriver driver(classic_plan());
  driver.send(NetworkCreated{});
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(0));
  driver.spawned(kLogs);
  driver.advance(seconds(59));
  CHECK_FALSE(driver.find<SendSignal>());
  CHECK(driver.status().why == "app waits for logs: has not sent READY=1");
  driver.advance(seconds(1));
  CHECK(driver.was_signalled(kLogs, 15));
  driver.advance(seconds(30));
  CHECK(driver.has<KillCgroup>(kLogs));
  driver.exit(kLogs, killed_by(9));
  CHECK(driver.has<Spawn>(kLogs));
  CHECK(driver.generation(kLogs) == 2);
  CHECK(driver.generation(kApp) == 0);
}

TEST_CASE("an init task is retried with backoff until it succeeds") {
  CoreDriver driver(classic_plan());
  driver.send(NetworkCreated{});
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(3));
  REQUIRE(driver.has<Spawn>(kSetup));  // the first retry is immediate
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(3));
  CHECK_FALSE(driver.has<Spawn>(kSetup));
  CHECK(driver.status().why == "app waits for setup: exited with 3; starts again in 1 s");
  driver.advance(seconds(1));
  CHECK(driver.has<Spawn>(kSetup));
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(0));
  CHECK(driver.has<Spawn>(kLogs));
}

TEST_CASE("an init task with restart never ends the service with its code") {
  ServicePlan plan = classic_plan();
  plan.children[kSetup].restart = RestartPolicy::Never;
  CoreDriver driver(plan);
  driver.send(NetworkCreated{});
  driver.spawned(kSetup);
  driver.exit(kSetup, exited(3));
  REQUIRE(driver.find<RemoveNetwork>());
  driver.send(NetworkRemoved{});
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 3);
}

TEST_CASE("a program that does not exist ends the service at once with 127") {
  CoreDriver driver(lone_app_plan());
  driver.send(SpawnFailed{0, 1, "exec", ENOENT, "exec(\"/opt/x\"): no such file or directory"});
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 127);
  CHECK(driver.find<Finish>()->receipt.reason ==
        "app: cannot start: exec(\"/opt/x\"): no such file or directory");
}

TEST_CASE("a spawn that may succeed later is tried again") {
  CoreDriver driver(lone_app_plan());
  driver.send(SpawnFailed{0, 1, "clone", EAGAIN, "clone: resource temporarily unavailable"});
  CHECK(driver.has<Spawn>(0));
  driver.send(SpawnFailed{0, 2, "clone", EAGAIN, "clone: resource temporarily unavailable"});
  CHECK_FALSE(driver.has<Spawn>(0));
  driver.advance(seconds(1));
  CHECK(driver.has<Spawn>(0));
}

TEST_CASE("a network that cannot be made ends the service with 71") {
  CoreDriver driver(classic_plan());
  driver.send(NetworkFailed{"cannot create namespace: operation not permitted"});
  REQUIRE(driver.find<RemoveNetwork>());
  driver.send(NetworkRemoved{});
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 71);
}

TEST_CASE("READY=1 that comes before post_start is done is not forgotten") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].gate = Gate::Notify;
  plan.children[0].post_start = HookPlan{};
  CoreDriver driver(plan);
  driver.spawned(0);
  CHECK(driver.has<RunHook>(0));
  driver.ready(0);
  CHECK(driver.state(0) == ChildState::PostStart);
  driver.send(HookFinished{0, 1, HookKind::PostStart, true, ""});
  CHECK(driver.state(0) == ChildState::Running);
}

TEST_CASE("news of a past generation changes nothing") {
  CoreDriver driver(lone_app_plan());
  driver.spawned(0);
  driver.exit(0, exited(1));
  REQUIRE(driver.generation(0) == 2);
  driver.send(Exited{0, 1, exited(1)});
  driver.send(Spawned{0, 1, 55});
  driver.send(GateSeen{0, 1});
  CHECK(driver.state(0) == ChildState::Spawning);
  CHECK(driver.last.empty());
}
