// What the host decides about a deploy without touching anything: ports, templates, its record.
#include <catch2/catch.hpp>

#include "supervisor/host/app_template.h"
#include "supervisor/host/deploy_record.h"

using namespace pillion;
using namespace pillion::supervisor::host;

namespace {

config::Child two_port_app() {
  config::Child app;
  app.name = "app";
  app.command = {"/bin/app", "--listen=127.0.0.1:{port}", "{port.admin}", "{other}"};
  app.env = {{"URL", "http://h:{port.http}/{port}"}};
  app.ports = {{"http", 8080, config::AppProtocol::Http},
               {"admin", 9000, {}},
               {"dns", 53, config::AppProtocol::Udp}};
  app.readiness_probe.emplace().http.emplace().port = config::PortRef{8080, ""};
  app.liveness_probe.emplace().exec.emplace().command = {"/bin/check", "{port.admin}"};
  app.pre_stop.emplace().http.emplace().port = config::PortRef{9000, ""};
  return app;
}

const auto all_free = [](std::uint16_t) { return true; };

}  // namespace

TEST_CASE("a generation's ports are put in wherever the app names them") {
  const config::Child app = fill_app(two_port_app(), {{8080, 18000}, {9000, 18001}});
  CHECK(app.command ==
        std::vector<std::string>{"/bin/app", "--listen=127.0.0.1:18000", "18001", "{other}"});
  CHECK(app.env.at("URL") == "http://h:18000/18000");
  CHECK(app.env.at("PILLION_PORT") == "18000");
  CHECK(app.env.at("PILLION_PORT_ADMIN") == "18001");
  CHECK(app.env.count("PILLION_PORT_DNS") == 0);
  CHECK(app.readiness_probe->http->port->number == 18000);
  CHECK(app.liveness_probe->exec->command[1] == "18001");
  CHECK(app.pre_stop->http->port->number == 18001);
  CHECK(app.ports == two_port_app().ports);
}

TEST_CASE("what env says wins over the ports that we set") {
  config::Child app = two_port_app();
  app.env["PILLION_PORT"] = "7";
  CHECK(fill_app(app, own_ports(app)).env.at("PILLION_PORT") == "7");
}

TEST_CASE(
    "the next generation takes its own ports when they are free, else the first of the range") {
  const config::Child app = two_port_app();
  CHECK(own_ports(app) == AppPortMap{{8080, 8080}, {9000, 9000}});
  const auto second = choose_app_ports(app, {18000, 18003}, {8080, 9000}, all_free);
  REQUIRE(second);
  CHECK(*second == AppPortMap{{8080, 18000}, {9000, 18001}});
  const auto third = choose_app_ports(app, {18000, 18003}, {18000, 18001}, all_free);
  REQUIRE(third);
  CHECK(*third == own_ports(app));
}

TEST_CASE("ports that somebody listens on are passed over, and an exhausted range is an error") {
  const config::Child app = two_port_app();
  const auto odd = [](std::uint16_t port) { return port % 2 == 1; };
  const auto ports = choose_app_ports(app, {18000, 18003}, {8080, 9000}, odd);
  REQUIRE(ports);
  CHECK(*ports == AppPortMap{{8080, 18001}, {9000, 18003}});
  const auto none = choose_app_ports(app, {18000, 18000}, {8080, 9000}, all_free);
  REQUIRE_FALSE(none);
  CHECK(
      none.error().message() ==
      "no port of 18000-18000 is free for the next generation: `--ports FIRST-LAST` names others");
}

TEST_CASE("the record of deploys survives being written and read") {
  DeployRecord record;
  record.slots[5] = {{8080, 18080}};
  record.next_ports = {{8080, 8080}};
  record.traffic = {{8080, 18080}};
  record.drain_milliseconds = 1500;
  record.count = 3;
  record.source = "a command";
  record.last = DeployOutcome{3, false, 4, "exited with 3", {"cannot open \"x\"", "\xff"}};
  const auto parsed = parse_deploy_record(to_json(record));
  REQUIRE(parsed);
  CHECK(parsed->slots == record.slots);
  CHECK(parsed->traffic == record.traffic);
  CHECK(parsed->drain_milliseconds == 1500);
  CHECK(parsed->last->reason == "exited with 3");
  CHECK(parsed->last->lines.size() == 2);
  CHECK_FALSE(parse_deploy_record("{}"));
  CHECK_FALSE(parse_deploy_record("rubbish"));
}
