// A new plan for a running service: as little happens as can be, in the right order.
#include <catch2/catch.hpp>

#include "supervisor/core/replan.h"
#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;

namespace {

CoreDriver running_classic() {
  CoreDriver driver(classic_plan());
  driver.run_classic();
  return driver;
}

bool is_quiet(const CoreDriver& driver) {
  return !driver.find<Spawn>() && !driver.find<SendSignal>() && !driver.find<KillCgroup>();
}

}  // namespace

TEST_CASE("a reload without a change touches nothing") {
  CoreDriver driver = running_classic();
  driver.send(Replan{classic_plan(), {}});
  CHECK(driver.find<PlanChanged>());
  CHECK_FALSE(driver.find<UsePlan>());
  CHECK(is_quiet(driver));
  CHECK(driver.reports(EventKind::ReloadFinished).size() == 1);
  CHECK(driver.status().is_ready);
}

TEST_CASE("a plan that cannot be is refused whole") {
  CoreDriver driver = running_classic();
  ServicePlan bad = classic_plan();
  SECTION("no app") { bad.children.pop_back(); }
  SECTION("two of one name") { bad.children[kVault].name = "logs"; }
  SECTION("a circle") { bad.children[kLogs].dependencies = {kProxy}; }
  SECTION("an unknown dependency") { bad.children[kLogs].dependencies = {77}; }
  driver.send(Replan{bad, {{"proxy", ChildChange::Replace}}});
  CHECK(driver.reports(EventKind::ReloadRefused).size() == 1);
  CHECK_FALSE(driver.find<PlanChanged>());
  CHECK(is_quiet(driver));
  driver.exit(kProxy, exited(1));
  CHECK(driver.has<Spawn>(kProxy));  // by the old plan
}

TEST_CASE("policies and probes change in place; generation, readiness and others stay") {
  CoreDriver driver = running_classic();
  ServicePlan plan = classic_plan();
  plan.children[kApp].readiness_probe = ProbePlan{};
  plan.children[kApp].readiness_probe->failure_threshold = 1;
  driver.send(Replan{plan, {{"app", ChildChange::InPlace}}});
  CHECK(is_quiet(driver));
  CHECK(driver.status().is_ready);  // a new probe takes nobody out of service
  const auto run = driver.find<RunProbe>(kApp);
  REQUIRE(run);
  driver.send(
      ProbeFinished{kApp, 1, ProbeKind::Readiness, run->sequence, ProbeResult::Failure, ""});
  CHECK_FALSE(driver.status().is_ready);
  CHECK(driver.generation(kApp) == 1);
}

TEST_CASE("a component's own table is written anew and SIGHUP sent, without a restart") {
  CoreDriver driver = running_classic();
  driver.send(Replan{classic_plan(), {{"proxy", ChildChange::Reload}}});
  CHECK(driver.has<UsePlan>(kProxy));
  CHECK(driver.find<ReloadChild>(kProxy)->generation == 1);
  CHECK(is_quiet(driver));
}

TEST_CASE("changed children are replaced one after the other in start order, app last") {
  CoreDriver driver = running_classic();
  driver.send(
      Replan{classic_plan(), {{"app", ChildChange::Replace}, {"logs", ChildChange::Replace}}});
  CHECK(driver.was_signalled(kLogs, 15));
  CHECK_FALSE(driver.has<SendSignal>(kApp));
  driver.exit(kLogs, exited(0));
  CHECK(driver.has<UsePlan>(kLogs));
  REQUIRE(driver.find<Spawn>(kLogs)->generation == 2);
  driver.spawned(kLogs);
  CHECK_FALSE(driver.has<SendSignal>(kApp));
  driver.ready(kLogs);
  CHECK(driver.was_signalled(kApp, 15));
  CHECK_FALSE(driver.has<SendSignal>(kProxy));
  driver.exit(kApp, exited(0));
  CHECK(driver.find<Spawn>(kApp)->generation == 2);
  driver.spawned(kApp);
  CHECK(driver.reports(EventKind::ReloadFinished).size() == 1);
  CHECK(driver.generation(kProxy) == 1);
  CHECK(driver.status().children[kApp].restarts == 0);
}

TEST_CASE("a proxy that serves asks its clients to go for a second before it is replaced") {
  CoreDriver driver = running_classic();
  driver.send(Replan{classic_plan(), {{"proxy", ChildChange::Replace}}});
  CHECK(driver.has<BeginDrain>(kProxy));
  CHECK_FALSE(driver.has<SendSignal>(kProxy));
  driver.advance(seconds(1));
  CHECK(driver.was_signalled(kProxy, 15));
  CHECK(driver.reports(EventKind::HookFailed).empty());
  driver.exit(kProxy, exited(0));
  CHECK(driver.find<Spawn>(kProxy)->generation == 2);
}

TEST_CASE("a changed helper that never starts leaves the old app running") {
  CoreDriver driver = running_classic();
  driver.send(
      Replan{classic_plan(), {{"app", ChildChange::Replace}, {"vault", ChildChange::Replace}}});
  driver.exit(kVault, exited(0));
  for (int i = 0; i < 5; ++i) {
    driver.spawned(kVault);
    driver.exit(kVault, exited(1));
    driver.advance(seconds(60));
  }
  CHECK(driver.state(kApp) == ChildState::Running);
  CHECK(driver.generation(kApp) == 1);
}

TEST_CASE("a removed helper goes when the app that used it has been replaced") {
  CoreDriver driver = running_classic();
  ServicePlan plan = classic_plan();
  plan.children.erase(plan.children.begin() + kVault);
  plan.children[2].dependencies = {0, 1};     // proxy
  plan.children[3].dependencies = {0, 1, 2};  // app
  SECTION("at once when nobody changed") {
    driver.send(Replan{plan, {}});
    CHECK(driver.was_signalled(kVault, 15));
    driver.exit(kVault, exited(0));
    CHECK_FALSE(driver.has_slot(kVault));
    CHECK(driver.generation(kApp) == 1);
    CHECK(driver.status().is_ready);
  }
  SECTION("after the app that changed with it") {
    driver.send(Replan{plan, {{"app", ChildChange::Replace}}});
    CHECK(driver.was_signalled(kApp, 15));
    CHECK_FALSE(driver.has<SendSignal>(kVault));
    CHECK(driver.child(kVault).is_leaving);
    driver.exit(kApp, exited(0));
    CHECK(driver.was_signalled(kVault, 15));
    CHECK(driver.has<Spawn>(kApp));
  }
  SECTION("and its slot and count of generations are kept for one of the same name") {
    driver.send(Replan{plan, {}});
    driver.exit(kVault, exited(0));
    driver.send(Replan{classic_plan(), {}});
    CHECK(driver.has<UsePlan>(kVault));
    CHECK(driver.find<Spawn>(kVault)->generation == 2);
  }
  SECTION("and stays when the next plan wants it again before it was told") {
    driver.send(Replan{plan, {{"app", ChildChange::Replace}}});
    driver.send(Replan{classic_plan(), {}});
    driver.exit(kApp, exited(0));
    driver.spawned(kApp);
    CHECK(driver.state(kVault) == ChildState::Running);
    CHECK(driver.generation(kVault) == 1);
  }
}

TEST_CASE("a new helper gets a slot of its own and starts with its gate; nobody else moves") {
  CoreDriver driver = running_classic();
  ServicePlan plan = classic_plan();
  plan.children.insert(plan.children.begin(),
                       child_plan("metrics", Role::Adapter, {}, Gate::Notify));
  for (ChildPlan& child : plan.children) {
    for (ChildId& id : child.dependencies) ++id;
  }
  plan.children.back().dependencies.push_back(0);
  driver.send(Replan{plan, {}});
  const ChildId metrics = 5;
  REQUIRE(driver.has<Spawn>(metrics));
  CHECK(driver.core.plan().children[metrics].name == "metrics");
  CHECK_FALSE(driver.has<SendSignal>(kApp));
  driver.spawned(metrics);
  CHECK(driver.reports(EventKind::ReloadFinished).empty());
  driver.ready(metrics);
  CHECK(driver.reports(EventKind::ReloadFinished).size() == 1);

  SECTION("and a stop ends it after the app") {
    driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
    CHECK_FALSE(driver.has<SendSignal>(metrics));
    driver.exit(kApp, exited(0));
    CHECK(driver.was_signalled(metrics, 15));
  }
}

TEST_CASE("a changed configuration forgets the failures of a crash loop and starts at once") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].max_restarts = 1;
  CoreDriver driver(plan);
  for (int i = 0; i < 2; ++i) {
    driver.spawned(0);
    driver.exit(0, exited(1));
  }
  REQUIRE(driver.state(0) == ChildState::Failed);
  driver.send(Replan{plan, {{"app", ChildChange::Replace}}});
  CHECK(driver.has<Spawn>(0));
}

TEST_CASE("a finished init task does not run again because its configuration changed") {
  CoreDriver driver = running_classic();
  driver.send(Replan{classic_plan(), {{"setup", ChildChange::Replace}}});
  CHECK(is_quiet(driver));
  CHECK(driver.reports(EventKind::ReloadFinished).size() == 1);
}

TEST_CASE("a reload is refused while the service stops or deploys") {
  CoreDriver driver = running_classic();
  SECTION("stop") { driver.send(StopRequested{std::nullopt, true, "SIGTERM"}); }
  SECTION("deploy") { driver.send(DeployRequested{classic_plan().children[kApp]}); }
  driver.send(Replan{classic_plan(), {{"logs", ChildChange::Replace}}});
  CHECK(driver.reports(EventKind::ReloadRefused).size() == 1);
  CHECK_FALSE(driver.has<SendSignal>(kLogs));
}

TEST_CASE("two roles that turn round in a reload neither hang it nor the stop") {
  ServicePlan plan = lone_app_plan();
  plan.children = {child_plan("a", Role::Adapter), child_plan("b", Role::Sidecar, {0}),
                   child_plan("app", Role::App, {0, 1})};
  CoreDriver driver(plan);
  for (const ChildId child : {0, 1, 2}) driver.spawned(static_cast<ChildId>(child));
  ServicePlan turned = plan;
  turned.children[0] = child_plan("a", Role::Sidecar, {1});
  turned.children[1] = child_plan("b", Role::Adapter);
  driver.send(Replan{turned, {}});
  CHECK(driver.was_signalled(1, 15));
  driver.exit(1, exited(0));
  driver.spawned(1);
  CHECK(driver.was_signalled(0, 15));
  driver.exit(0, exited(0));
  driver.spawned(0);
  CHECK(driver.reports(EventKind::ReloadFinished).size() == 1);
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  driver.exit(2, exited(0));
  CHECK(driver.was_signalled(0, 15));
  CHECK_FALSE(driver.has<SendSignal>(1));
}
