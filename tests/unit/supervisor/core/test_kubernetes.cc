// The life of a Pod as Kubernetes' own end-to-end suites demand it (container_lifecycle_test, the
// sidecar containers of KEP-753, the kubelet's prober worker and termination order), asked of our
// core. Facts are theirs, the tests are ours.
#include <catch2/catch.hpp>

#include "tests/unit/supervisor/core/core_driver.h"

using namespace pillion::supervisor::core;
using pillion::Duration;

namespace {

// init-1 → sidecar → init-2 is not ours: sidecars start after all init tasks.
enum : ChildId { kFirst, kSecond, kSidecar, kMain };
ServicePlan pod() {
  ServicePlan plan;
  plan.name = "pod";
  plan.has_network = plan.has_capture = false;
  plan.children = {child_plan("first", Role::Init), child_plan("second", Role::Init, {0}),
                   child_plan("sidecar", Role::Sidecar, {0, 1}),
                   child_plan("main", Role::App, {0, 1, 2})};
  plan.children[kFirst].restart = plan.children[kSecond].restart = RestartPolicy::OnFailure;
  return plan;
}

void run_init(CoreDriver& driver) {
  for (const ChildId init : {kFirst, kSecond}) {
    driver.spawned(init);
    driver.exit(init, exited(0));
  }
}

std::uint64_t run_of(const CoreDriver& driver, ChildId child, ProbeKind kind) {
  for (const Action& action : driver.last) {
    const auto* run = std::get_if<RunProbe>(&action);
    if (run && run->child == child && run->kind == kind) return run->sequence;
  }
  return 0;
}

}  // namespace

TEST_CASE("pod: each init task starts after the one before has exited") {
  CoreDriver driver(pod());
  driver.spawned(kFirst);
  CHECK(driver.generation(kSecond) == 0);
  driver.exit(kFirst, exited(0));
  CHECK(driver.has<Spawn>(kSecond));
  CHECK(driver.generation(kSidecar) == 0);
}

TEST_CASE("pod: a failing init task under restart never fails the pod; later ones never run") {
  ServicePlan plan = pod();
  plan.children[kFirst].restart = RestartPolicy::Never;
  CoreDriver driver(plan);
  driver.spawned(kFirst);
  driver.exit(kFirst, exited(4));
  REQUIRE(driver.find<Finish>());
  CHECK(driver.find<Finish>()->exit_code == 4);
  CHECK(driver.generation(kSecond) == 0);
}

TEST_CASE("pod: a failing init task holds the rest and is retried for ever") {
  CoreDriver driver(pod());
  for (int i = 0; i < 50; ++i) {
    driver.spawned(kFirst);
    driver.exit(kFirst, exited(1));
    driver.advance(std::chrono::minutes(2));
    CHECK(driver.generation(kSecond) == 0);
  }
  CHECK(driver.generation(kFirst) == 51);
}

TEST_CASE("pod: a restart of the app runs no init task again") {
  CoreDriver driver(pod());
  run_init(driver);
  driver.spawned(kSidecar);
  driver.spawned(kMain);
  driver.exit(kMain, exited(1));
  CHECK(driver.has<Spawn>(kMain));
  CHECK(driver.generation(kFirst) == 1);
  CHECK(driver.generation(kSidecar) == 1);
}

TEST_CASE("pod: a sidecar gates the app by its startup probe, not by its readiness") {
  ServicePlan plan = pod();
  ChildPlan& sidecar = plan.children[kSidecar];
  sidecar.gate = Gate::StartupProbe;
  sidecar.startup_probe = sidecar.readiness_probe = ProbePlan{};
  CoreDriver driver(plan);
  run_init(driver);
  driver.spawned(kSidecar);
  CHECK(driver.generation(kMain) == 0);
  driver.send(ProbeFinished{kSidecar, 1, ProbeKind::Startup,
                            run_of(driver, kSidecar, ProbeKind::Startup), ProbeResult::Success,
                            ""});
  CHECK(driver.has<Spawn>(kMain));
  driver.spawned(kMain);
  CHECK_FALSE(driver.status().is_ready);  // but the pod's readiness counts it
}

TEST_CASE("pod: a sidecar's post_start must be done before the app starts") {
  ServicePlan plan = pod();
  plan.children[kSidecar].post_start = HookPlan{};
  CoreDriver driver(plan);
  run_init(driver);
  driver.spawned(kSidecar);
  REQUIRE(driver.find<RunHook>(kSidecar)->kind == HookKind::PostStart);
  CHECK(driver.generation(kMain) == 0);
  SECTION("done") {
    driver.send(HookFinished{kSidecar, 1, HookKind::PostStart, true, ""});
    CHECK(driver.has<Spawn>(kMain));
  }
  SECTION("failed: the sidecar is killed by its restart policy") {
    driver.send(HookFinished{kSidecar, 1, HookKind::PostStart, false, "exit code 1"});
    CHECK(driver.was_signalled(kSidecar, 15));
    driver.exit(kSidecar, killed_by(15));
    CHECK(driver.has<Spawn>(kSidecar));
    CHECK(driver.generation(kMain) == 0);
  }
}

TEST_CASE("pod: a sidecar is always started again, also after success, and the app goes on") {
  CoreDriver driver(pod());
  run_init(driver);
  driver.spawned(kSidecar);
  driver.spawned(kMain);
  driver.exit(kSidecar, exited(0));
  CHECK(driver.has<Spawn>(kSidecar));
  CHECK_FALSE(driver.has<SendSignal>(kMain));
  CHECK(driver.state(kMain) == ChildState::Running);
}

TEST_CASE("pod: sidecars end when the app has finished its work") {
  ServicePlan plan = pod();
  plan.children[kMain].restart = RestartPolicy::OnFailure;
  CoreDriver driver(plan);
  run_init(driver);
  driver.spawned(kSidecar);
  driver.spawned(kMain);
  driver.exit(kMain, exited(0));
  CHECK(driver.was_signalled(kSidecar, 15));
  driver.exit(kSidecar, killed_by(15));  // its code never counts
  CHECK(driver.find<Finish>()->exit_code == 0);
}

TEST_CASE(
    "pod: pre_stop runs before the stop signal of a liveness kill, within the probe's grace") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].pre_stop = HookPlan{};
  plan.children[0].liveness_probe = ProbePlan{};
  plan.children[0].liveness_probe->failure_threshold = 1;
  plan.children[0].liveness_probe->termination_grace = seconds(5);
  CoreDriver driver(plan);
  driver.spawned(0);
  driver.send(ProbeFinished{0, 1, ProbeKind::Liveness, run_of(driver, 0, ProbeKind::Liveness),
                            ProbeResult::Failure, "HTTP 500"});
  CHECK(driver.find<RunHook>(0)->timeout == seconds(5));
  CHECK_FALSE(driver.has<SendSignal>(0));
  SECTION("the hook ends: what is left of the grace is the signal's") {
    driver.advance(seconds(2));
    driver.send(HookFinished{0, 1, HookKind::PreStop, true, ""});
    CHECK(driver.was_signalled(0, 15));
    driver.advance(milliseconds(2'999));
    CHECK_FALSE(driver.has<KillCgroup>(0));
    driver.advance(milliseconds(1));
    CHECK(driver.has<KillCgroup>(0));
  }
  SECTION("the hook hangs: two seconds are left for the signal") {
    driver.advance(seconds(5));
    CHECK(driver.has<CancelHook>(0));
    CHECK(driver.was_signalled(0, 15));
    driver.advance(seconds(2));
    CHECK(driver.has<KillCgroup>(0));
  }
  SECTION("the process ends during its hook") {
    driver.exit(0, exited(1));
    CHECK(driver.has<CancelHook>(0));
    CHECK(driver.has<Spawn>(0));
  }
  SECTION("a stop of the service meets the running hook and runs it once") {
    driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
    CHECK_FALSE(driver.has<RunHook>(0));
    driver.send(HookFinished{0, 1, HookKind::PreStop, true, ""});
    CHECK(driver.was_signalled(0, 15));
    driver.exit(0, exited(0));
    CHECK(driver.find<Finish>());
  }
}

TEST_CASE("pod: a failed startup probe replaces the child by its policy and its own grace") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].gate = Gate::StartupProbe;
  plan.children[0].startup_probe = ProbePlan{};
  plan.children[0].startup_probe->failure_threshold = 1;
  plan.children[0].startup_probe->termination_grace = seconds(4);
  CoreDriver driver(plan);
  driver.spawned(0);
  driver.send(ProbeFinished{0, 1, ProbeKind::Startup, run_of(driver, 0, ProbeKind::Startup),
                            ProbeResult::Failure, ""});
  CHECK(driver.was_signalled(0, 15));
  driver.advance(seconds(4));
  CHECK(driver.has<KillCgroup>(0));
}

TEST_CASE("prober: readiness begins as failure, liveness as success, startup holds both back") {
  ServicePlan plan = lone_app_plan();
  ChildPlan& app = plan.children[0];
  app.gate = Gate::StartupProbe;
  app.startup_probe = app.readiness_probe = app.liveness_probe = ProbePlan{};
  CoreDriver driver(plan);
  driver.spawned(0);
  CHECK(run_of(driver, 0, ProbeKind::Readiness) == 0);
  CHECK(run_of(driver, 0, ProbeKind::Liveness) == 0);
  driver.send(ProbeFinished{0, 1, ProbeKind::Startup, run_of(driver, 0, ProbeKind::Startup),
                            ProbeResult::Success, ""});
  CHECK(run_of(driver, 0, ProbeKind::Readiness) > 0);
  CHECK(run_of(driver, 0, ProbeKind::Liveness) > 0);
  CHECK_FALSE(driver.status().is_ready);
  CHECK(driver.state(0) == ChildState::Running);
  driver.advance(std::chrono::minutes(10));  // nobody answers; the startup probe stays done
  CHECK(run_of(driver, 0, ProbeKind::Startup) == 0);
}

TEST_CASE("prober: a restart begins all counts anew") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].liveness_probe = ProbePlan{};
  plan.children[0].liveness_probe->failure_threshold = 2;
  plan.children[0].liveness_probe->period = seconds(10);
  CoreDriver driver(plan);
  const auto fail = [&](Generation generation) {
    driver.send(ProbeFinished{0, generation, ProbeKind::Liveness,
                              run_of(driver, 0, ProbeKind::Liveness), ProbeResult::Failure, ""});
  };
  driver.spawned(0);
  fail(1);
  driver.exit(0, exited(1));
  driver.spawned(0);
  fail(2);
  CHECK_FALSE(driver.has<SendSignal>(0));  // one of two, not two of two
}

TEST_CASE("prober: results of a past generation, or of no run at all, count for nothing") {
  ServicePlan plan = lone_app_plan();
  plan.children[0].liveness_probe = ProbePlan{};
  plan.children[0].liveness_probe->failure_threshold = 1;
  CoreDriver driver(plan);
  driver.spawned(0);
  const auto sequence = run_of(driver, 0, ProbeKind::Liveness);
  driver.send(ProbeFinished{0, 7, ProbeKind::Liveness, sequence, ProbeResult::Failure, ""});
  driver.send(ProbeFinished{0, 1, ProbeKind::Liveness, sequence + 1, ProbeResult::Failure, ""});
  CHECK_FALSE(driver.has<SendSignal>(0));
}

TEST_CASE("prober: readiness goes on during the drain, liveness does not") {
  ServicePlan plan = lone_app_plan();
  plan.drain_delay = seconds(20);
  plan.children[0].readiness_probe = plan.children[0].liveness_probe = ProbePlan{};
  CoreDriver driver(plan);
  driver.spawned(0);
  for (const ProbeKind kind : {ProbeKind::Readiness, ProbeKind::Liveness}) {
    const auto actions = driver.last;
    driver.send(ProbeFinished{0, 1, kind, 1, ProbeResult::Success, ""});
  }
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  CHECK_FALSE(driver.status().is_ready);
  driver.advance(seconds(15));
  CHECK(run_of(driver, 0, ProbeKind::Readiness) > 0);
  CHECK(run_of(driver, 0, ProbeKind::Liveness) == 0);
}

TEST_CASE("termination: waiting for one's turn comes out of the one grace") {
  CoreDriver driver(pod());
  run_init(driver);
  driver.spawned(kSidecar);
  driver.spawned(kMain);
  driver.send(StopRequested{seconds(20), true, "SIGTERM"});
  driver.advance(seconds(14));
  driver.exit(kMain, exited(0));
  CHECK(driver.was_signalled(kSidecar, 15));
  driver.advance(milliseconds(5'999));
  CHECK_FALSE(driver.has<KillCgroup>(kSidecar));
  driver.advance(milliseconds(1));
  CHECK(driver.has<KillCgroup>(kSidecar));
}

TEST_CASE("termination: a child that does not run holds nobody's turn") {
  CoreDriver driver(pod());
  run_init(driver);
  driver.spawned(kSidecar);
  driver.spawned(kMain);
  for (int i = 0; i < 3; ++i) {
    driver.exit(kMain, exited(1));
    if (driver.has<Spawn>(kMain)) driver.spawned(kMain);
  }
  REQUIRE(driver.state(kMain) == ChildState::Backoff);
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  CHECK(driver.was_signalled(kSidecar, 15));
}

TEST_CASE("termination: every pre_stop hook starts at once, the sidecars' too") {
  ServicePlan plan = pod();
  plan.children[kSidecar].pre_stop = plan.children[kMain].pre_stop = HookPlan{};
  CoreDriver driver(plan);
  run_init(driver);
  driver.spawned(kSidecar);
  driver.spawned(kMain);
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  CHECK(driver.has<RunHook>(kSidecar));
  CHECK(driver.has<RunHook>(kMain));
  driver.send(HookFinished{kSidecar, 1, HookKind::PreStop, true, ""});
  CHECK_FALSE(driver.has<SendSignal>(kSidecar));
  driver.send(HookFinished{kMain, 1, HookKind::PreStop, true, ""});
  CHECK(driver.was_signalled(kMain, 15));
}

TEST_CASE(
    "termination: a deletion during the init tasks ends the one that runs and starts no other") {
  CoreDriver driver(pod());
  driver.spawned(kFirst);
  driver.send(StopRequested{std::nullopt, true, "SIGTERM"});
  CHECK(driver.was_signalled(kFirst, 15));
  driver.exit(kFirst, exited(0));
  CHECK(driver.find<Finish>());
  CHECK(driver.generation(kSecond) == 0);
}
