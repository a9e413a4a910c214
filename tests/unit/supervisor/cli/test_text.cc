// Tables, sizes, durations and messages: what people see.
#include <catch2/catch.hpp>
#include <cerrno>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/status_command.h"
#include "supervisor/cli/text_table.h"

using namespace pillion::supervisor;
using namespace pillion::supervisor::cli;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("sizes and durations are short") {
  CHECK(format_bytes(0) == "0B");
  CHECK(format_bytes(1023) == "1023B");
  CHECK(format_bytes(64u << 20) == "64MiB");
  CHECK(format_bytes(12'900'000) == "12.3MiB");
  CHECK(format_duration(milliseconds(250)) == "250ms");
  CHECK(format_duration(seconds(59)) == "59s");
  CHECK(format_duration(seconds(245)) == "4m 5s");
  CHECK(format_duration(seconds(3 * 3600 + 120)) == "3h 2m");
  CHECK(format_duration(seconds(52 * 3600)) == "2d 4h");
}

TEST_CASE("a table leaves out columns with nothing in them and blanks at line ends") {
  CHECK(render_table({{{"A"}, {"B"}, {"C"}, {"D"}},
                      {{"1"}, {"-"}, {"x"}, {""}},
                      {{"22"}, {"-"}, {"yy"}, {"why"}}},
                     "> ", false) ==
        "> A   C   D\n"
        "> 1   x\n"
        "> 22  yy  why\n");
}

TEST_CASE("status shows children in order, with the reason for each wait") {
  control::StatusReport report;
  report.service.name = "orders";
  report.service.state = core::ServiceState::Starting;
  report.service.up_for = seconds(7);
  report.service.why = "app waits for proxy: startup probe failed 7/30: connection refused";
  core::ChildStatus proxy;
  proxy.name = "proxy";
  proxy.role = core::Role::Sidecar;
  proxy.state = core::ChildState::Gating;
  proxy.pid = 4711;
  proxy.why = "startup probe failed 7/30: connection refused";
  core::ChildStatus app;
  app.name = "app";
  app.state = core::ChildState::Waiting;
  app.why = "waits for proxy";
  report.service.children = {proxy, app};
  control::ChildUsage usage;
  usage.memory_bytes = 3u << 20;
  usage.memory_limit_bytes = 64u << 20;
  usage.cpu_seconds = 0.5;
  report.usage = {usage};
  report.warnings = {"no CPU limits: the controller is not delegated"};
  CHECK(render_status(report, false) ==
        "orders  starting, not ready, up 7s\n"
        "  app waits for proxy: startup probe failed 7/30: connection refused\n"
        "  CHILD  ROLE     STATE    READY  RESTARTS  PID   MEMORY      CPU    WHY\n"
        "  proxy  sidecar  gating   no     0         4711  3MiB/64MiB  0.50s  startup probe failed "
        "7/30: connection refused\n"
        "  app    app      waiting  no     0         -     -           -      waits for proxy\n"
        "  note: no CPU limits: the controller is not delegated\n");
  CHECK(render_status(report, true).find("\x1b[") != std::string::npos);
}

TEST_CASE("a service may be named by its file") {
  CHECK(service_name_of("orders") == "orders");
  CHECK(service_name_of("/etc/pillion/orders.toml") == "orders");
  const auto refused = call_api("../etc", "GET", "/v1/status");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message() == "\"../etc\" is not the name of a service");
}

TEST_CASE("a service that does not run: what to do") {
  ::setenv("PILLION_RUNTIME_DIR", "/tmp/pillion-nothing-runs-here", 1);
  const auto missing = call_api("orders", "GET", "/v1/status");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message() ==
        "no service \"orders\" is running here (none is).\n"
        "Start it with `pillion run orders.toml`, or `systemctl start pillion@orders` when its "
        "file is in /etc/pillion.");
  CHECK(missing.error().errno_value() == ENOENT);
}
