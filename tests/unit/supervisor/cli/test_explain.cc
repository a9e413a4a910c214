// The sentence of `pillion why` and what it rests on.
#include "supervisor/cli/explain.h"

#include <catch2/catch.hpp>

using namespace pillion;
using namespace pillion::supervisor;
using namespace pillion::supervisor::cli;
using std::chrono::seconds;

namespace {

control::StatusReport waiting_for_proxy() {
  control::StatusReport report;
  report.service.name = "orders";
  report.service.state = core::ServiceState::Starting;
  report.service.why = "app waits for proxy: startup probe failed 7/30: connection refused";
  core::ChildStatus proxy;
  proxy.name = "proxy";
  proxy.role = core::Role::Sidecar;
  proxy.state = core::ChildState::Gating;
  proxy.generation = 2;
  proxy.restarts = 1;
  proxy.in_state_for = seconds(7);
  proxy.why = "startup probe failed 7/30: connection refused";
  proxy.last_exit = core::ExitStatus{core::ExitStatus::Kind::Exited, 3, false};
  core::ChildStatus app;
  app.name = "app";
  app.why = "waits for proxy";
  report.service.children = {app, proxy};
  return report;
}

control::EventRecord event_of(const char* kind, const char* level, const char* child,
                              const char* text) {
  control::EventRecord event;
  event.time = WallTime(seconds(1705329121));
  event.kind = kind;
  event.level = level;
  event.child = child;
  event.text = text;
  return event;
}

}  // namespace

TEST_CASE("a service that waits: whose fault it is, and what that child went through") {
  const std::vector<control::EventRecord> events = {
      event_of("child_exited", "warning", "proxy", "proxy: of an earlier run"),
      event_of("service_preparing", "debug", "", "starting"),
      event_of("child_exited", "warning", "proxy", "proxy: exited with 3"),
      event_of("child_exited", "warning", "app", "app: not of interest"),
      event_of("child_started", "debug", "proxy", "proxy: not grave")};
  const Explanation found = explain(waiting_for_proxy(), events, "");
  CHECK(found.sentence ==
        "orders is starting, not ready: app waits for proxy: startup probe failed 7/30: "
        "connection refused");
  CHECK_FALSE(found.is_well);
  CHECK(found.culprit == "proxy");
  CHECK(found.evidence ==
        std::vector<std::string>{"proxy (sidecar): gating for 7s, generation 2, restarted once",
                                 "last time, proxy exited with 3",
                                 "2024-01-15 14:32:01.000  warning  proxy         exited with 3"});
}

TEST_CASE("one child, well or not") {
  control::StatusReport report = waiting_for_proxy();
  CHECK(explain(report, {}, "app").sentence == "app is waiting: waits for proxy");
  CHECK(explain(report, {}, "nobody").sentence == "orders has no child nobody");
  report.service.children[1].state = core::ChildState::Running;
  report.service.children[1].is_ready = true;
  const Explanation well = explain(report, {}, "proxy");
  CHECK(well.sentence == "proxy runs and is ready, for 7s now");
  CHECK(well.is_well);
  CHECK(well.culprit.empty());
}

TEST_CASE("a ready service mentions what was restarted") {
  control::StatusReport report = waiting_for_proxy();
  report.service.is_ready = true;
  report.service.up_for = seconds(90);
  const Explanation found = explain(report, {}, "");
  CHECK(found.sentence == "orders is ready, up 1m 30s");
  CHECK(found.is_well);
  CHECK(found.evidence.size() == 2);
}

TEST_CASE("a service that is over: by its receipt, or because its keeper was killed") {
  core::Receipt receipt;
  receipt.reason = "SIGTERM";
  receipt.exit_code = 137;
  receipt.killed = {"app"};
  const std::vector<control::EventRecord> stopped = {
      event_of("service_preparing", "debug", "", "starting"),
      event_of("service_stopped", "debug", "", "ended")};
  const Explanation found = explain_end("orders", stopped, &receipt);
  CHECK(found.sentence == "orders does not run: it ended with exit code 137, asked by SIGTERM");
  CHECK_FALSE(found.is_well);
  CHECK(found.evidence.front() == "app had to be killed");
  const std::vector<control::EventRecord> lost = {
      event_of("service_stopped", "debug", "", "ended"),
      event_of("service_preparing", "debug", "", "starting")};
  CHECK(explain_end("orders", lost, &receipt).sentence.find("did not end by itself") !=
        std::string::npos);
}
