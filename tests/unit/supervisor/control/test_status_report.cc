// What travels over the control socket, there and back.
#include <catch2/catch.hpp>

#include "supervisor/control/status_report.h"

using namespace pillion::supervisor;
using namespace pillion::supervisor::control;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("a status report survives JSON") {
  StatusReport report;
  report.service.name = "orders";
  report.service.state = core::ServiceState::StoppingHelpers;
  report.service.why = "app waits for proxy: startup probe failed 7/30";
  report.service.up_for = milliseconds(1500);
  report.service.stop_deadline_in = seconds(4);
  core::ChildStatus child;
  child.name = "proxy";
  child.role = core::Role::Sidecar;
  child.state = core::ChildState::Backoff;
  child.generation = 3;
  child.restarts = 2;
  child.pid = 77;
  child.restart_in = seconds(2);
  child.last_exit = core::ExitStatus{core::ExitStatus::Kind::Signaled, 9, true};
  child.why = "was \"killed\"";
  report.service.children.push_back(child);
  report.usage.push_back({1024, 4096, 0.25, std::nullopt, 3});
  report.warnings = {"no cgroup limits here"};
  report.supervisor_pid = 12;

  const std::string json = to_json(report);
  CHECK(json.find('\n') == std::string::npos);
  const auto back = parse_status_report(json);
  REQUIRE(back);
  CHECK(to_json(*back) == json);
  CHECK(back->service.state == core::ServiceState::StoppingHelpers);
  CHECK(back->service.children.at(0).last_exit == child.last_exit);
  CHECK(back->usage.at(0) == report.usage[0]);
}

TEST_CASE("a receipt survives JSON") {
  core::Receipt receipt;
  receipt.reason = "SIGTERM";
  receipt.exit_code = 143;
  receipt.total = milliseconds(2250);
  receipt.phases = {{"app", seconds(2)}, {"helpers", milliseconds(250)}};
  receipt.killed = {"app"};
  receipt.counts = {{"requests_finished", 12}};
  receipt.counts_by_child["proxy"]["requests_finished"] = 12;
  const auto back = parse_receipt(to_json(receipt));
  REQUIRE(back);
  CHECK(describe(*back) == describe(receipt));
  CHECK(to_json(*back) == to_json(receipt));
}

TEST_CASE("rubbish is neither a status nor a receipt") {
  for (const char* text : {"", "{}", "[]", "null", R"({"name":7,"children":[]})"}) {
    CHECK_FALSE(parse_status_report(text));
    CHECK_FALSE(parse_receipt(text));
  }
}
