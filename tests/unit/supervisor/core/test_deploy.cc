// A rolling replace of the app: nobody notices, or nothing has changed.
#include <catch2/catch.hpp>

#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;
using pillion::Duration;

namespace {

constexpr ChildId kNext = 5;  // the slot behind those of classic_plan()

ChildPlan next_app() {
  ChildPlan app = classic_plan().children[kApp];
  app.readiness_probe = ProbePlan{};
  app.readiness_probe->period = seconds(60);
  return app;
}

CoreDriver deploying(Duration min_ready = Duration::zero()) {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  driver.send(DeployRequested{next_app(), std::chrono::minutes(2), min_ready});
  return driver;
}

void answer_probe(CoreDriver& driver, ProbeResult result) {
  const auto run = driver.find<RunProbe>(kNext);
  REQUIRE(run);
  driver.send(ProbeFinished{kNext, run->generation, ProbeKind::Readiness, run->sequence, result,
                            "HTTP 503"});
}

bool was_untouched(const CoreDriver& driver) {
  return !driver.has<SendSignal>(kApp) && !driver.has<KillCgroup>(kApp) &&
         driver.state(kApp) == ChildState::Running && driver.status().is_ready;
}

}  // namespace

TEST_CASE(
    "a deploy starts the next app beside the old one, shifts when ready, retires the old one") {
  CoreDriver driver = deploying();
  CHECK(driver.find<UsePlan>(kNext)->is_candidate);
  CHECK(driver.find<Spawn>(kNext)->generation == 2);  // one count for both slots
  CHECK(was_untouched(driver));
  driver.spawned(kNext);
  CHECK_FALSE(driver.find<ShiftTraffic>());
  CHECK(driver.status().is_ready);  // a candidate that is not ready takes nobody out of service
  answer_probe(driver, ProbeResult::Success);
  REQUIRE(driver.find<ShiftTraffic>());
  CHECK(driver.find<ShiftTraffic>()->from == kApp);
  CHECK(driver.find<ShiftTraffic>()->to == kNext);
  CHECK(was_untouched(driver));
  driver.send(TrafficShifted{kNext});
  CHECK(driver.find<PromoteApp>()->slot == kNext);
  CHECK(driver.was_signalled(kApp, 15));
  CHECK(driver.child(kApp).is_leaving);
  CHECK(driver.status().is_ready);
  driver.exit(kApp, exited(0));
  CHECK(driver.find<EndDeploy>()->gone == kApp);
  CHECK(driver.find<EndDeploy>()->is_promoted);
  CHECK_FALSE(driver.has_slot(kApp));
  CHECK(driver.status().state == ServiceState::Running);

  SECTION("and the next deploy uses the slot that became free") {
    driver.send(DeployRequested{next_app()});
    CHECK(driver.find<Spawn>(kApp)->generation == 3);
  }
  SECTION("and the new app is the one whose end counts") {
    driver.exit(kNext, exited(1));
    CHECK(driver.find<Spawn>(kNext)->generation == 3);
  }
}

TEST_CASE("a deploy that fails leaves the old app as it was") {
  CoreDriver driver = deploying();
  std::string why;
  SECTION("it cannot be started") {
    driver.send(SpawnFailed{kNext, 2, "exec", 2, "no such file"});
    why = "the next generation cannot start: no such file";
  }
  SECTION("it exits") {
    driver.spawned(kNext);
    driver.exit(kNext, exited(3));
    why = "the next generation exited with 3";
  }
  SECTION("it is not ready in time") {
    driver.spawned(kNext);
    while (!driver.find<RunProbe>(kNext)) driver.advance(seconds(1));
    answer_probe(driver, ProbeResult::Failure);
    driver.advance(std::chrono::minutes(2));
    why = "the next generation is not ready in time";
  }
  SECTION("an operator cancels it") {
    driver.spawned(kNext);
    driver.send(DeployCancelled{});
    why = "cancelled";
  }
  const auto failed = driver.reports(EventKind::DeployFailed);
  REQUIRE(failed.size() == 1);
  CHECK(failed[0].fields.at("reason").find(why) == 0);
  if (is_alive(driver.state(kNext))) driver.exit(kNext, exited(0));
  CHECK_FALSE(driver.find<EndDeploy>()->is_promoted);
  CHECK_FALSE(driver.has_slot(kNext));
  CHECK(was_untouched(driver));
  driver.advance(std::chrono::minutes(5));
  CHECK_FALSE(driver.has<Spawn>(kNext));  // a candidate is never restarted
}

TEST_CASE("a shift that fails or is never confirmed is taken back before the candidate ends") {
  CoreDriver driver = deploying();
  driver.spawned(kNext);
  answer_probe(driver, ProbeResult::Success);
  SECTION("failed") { driver.send(ShiftFailed{kNext, "admin: HTTP 500"}); }
  SECTION("silent") { driver.advance(std::chrono::minutes(15)); }
  SECTION("the candidate dies meanwhile") { driver.exit(kNext, killed_by(11)); }
  REQUIRE(driver.find<ShiftTraffic>());
  CHECK(driver.find<ShiftTraffic>()->to == kApp);
  CHECK_FALSE(driver.has<SendSignal>(kNext));
  driver.advance(seconds(3));
  CHECK(driver.find<ShiftTraffic>()->to == kApp);  // once more
  driver.send(TrafficShifted{kApp});
  if (is_alive(driver.state(kNext))) {
    CHECK(driver.was_signalled(kNext, 15));
    driver.exit(kNext, exited(0));
  }
  CHECK_FALSE(driver.find<EndDeploy>()->is_promoted);
  CHECK(was_untouched(driver));
}

TEST_CASE("min_ready must pass without a break before the traffic shifts") {
  CoreDriver driver = deploying(seconds(10));
  driver.spawned(kNext);
  answer_probe(driver, ProbeResult::Success);
  driver.advance(milliseconds(900));
  driver.send(Notified{kNext, 2, Notified::Kind::Reloading, ""});
  driver.send(Notified{kNext, 2, Notified::Kind::Ready, ""});
  driver.advance(milliseconds(9'999));
  CHECK_FALSE(driver.find<ShiftTraffic>());
  driver.advance(milliseconds(1));
  CHECK(driver.find<ShiftTraffic>());
}

TEST_CASE("the old app's crash during a deploy is its own affair") {
  CoreDriver driver = deploying();
  driver.spawned(kNext);
  driver.exit(kApp, exited(1));
  CHECK(driver.find<Spawn>(kApp)->generation == 3);  // 2 is the candidate's
  CHECK(driver.child(kNext).is_candidate);
}

TEST_CASE("a stop during a deploy ends both apps before the helpers") {
  CoreDriver driver = deploying();
  driver.spawned(kNext);
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  CHECK(driver.was_signalled(kApp, 15));
  CHECK(driver.was_signalled(kNext, 15));
  driver.exit(kNext, exited(9));
  CHECK_FALSE(driver.has<SendSignal>(kProxy));
  driver.exit(kApp, exited(0));
  CHECK(driver.was_signalled(kProxy, 15));
  for (const ChildId helper : {kProxy, kVault, kLogs}) driver.exit(helper, exited(0));
  driver.send(NetworkRemoved{});
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 0);  // the present app's, not the candidate's
}

TEST_CASE("one deploy at a time, of a running service, of its app") {
  CoreDriver driver = deploying();
  driver.send(DeployRequested{next_app()});
  CHECK(driver.reports(EventKind::RequestRefused).size() == 1);
  driver.send(DeployCancelled{});
  driver.exit(kNext, exited(0));
  ChildPlan other = next_app();
  other.name = "another";
  driver.send(DeployRequested{other});
  CHECK(driver.reports(EventKind::RequestRefused).size() == 1);
  CoreDriver starting(classic_plan());
  starting.send(DeployRequested{next_app()});
  CHECK(starting.reports(EventKind::RequestRefused).size() == 1);
}
