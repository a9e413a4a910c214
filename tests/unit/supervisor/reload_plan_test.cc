// What a reload would do to each child, from two files.
#include "supervisor/host/reload_plan.h"

#include <algorithm>

#include <catch2/catch.hpp>

#include "config/load.h"
#include "supervisor/host/accepted_file.h"

namespace pillion::supervisor::host {
namespace {

using core::ChildChange;

config::Service service_of(const std::string& text) {
  auto loaded = config::parse_service("[service]\nname = \"orders\"\n" + text, "orders.toml", {});
  REQUIRE(loaded.value);
  return completed(std::move(*loaded.value));
}

ReloadPlan plan(const std::string& before, const std::string& after) {
  return make_reload_plan(service_of(before), service_of(after), {"/run/o", "/lib/o", "/log/o"});
}

const std::string kHost = "[network]\nmode = \"host\"\n";
const std::string kApp = "[app]\ncommand = [\"/bin/app\"]\n";

std::string proxy(const std::string& config) {
  return kApp + "ports = [{ name = \"http\", port = 8080 }]\n[sidecar.proxy]\nuse = \"proxy\"\n" +
         "[sidecar.proxy.config]\n" + config;
}

ChildChange proxy_change(const std::string& before, const std::string& after) {
  return plan(proxy(before), proxy(after)).replan.changes.at("proxy");
}

}  // namespace

TEST_CASE("the same file is an empty plan, also when it is written otherwise") {
  CHECK(plan(kHost + kApp, kHost + kApp).is_empty());
  CHECK(plan(kHost + kApp, kHost + kApp + "restart = \"always\"\n").is_empty());
}

TEST_CASE("a child is left alone, changed in place or replaced, as its keys ask for") {
  const auto change = [](const std::string& key) {
    return plan(kHost + kApp, kHost + kApp + key).replan.changes.at("app");
  };
  CHECK(change("") == ChildChange::None);
  CHECK(change("limits = { memory = \"64MiB\" }\n") == ChildChange::InPlace);
  CHECK(change("stop_signal = \"SIGINT\"\n") == ChildChange::InPlace);
  CHECK(change("env = { A = \"1\" }\n") == ChildChange::Replace);
  CHECK(change("limits = { open_files = 100 }\n") == ChildChange::Replace);
}

TEST_CASE("children that come and go are in the plan, and make it no empty one") {
  const std::string helper = "[sidecar.helper]\ncommand = [\"/bin/helper\"]\n";
  const ReloadPlan more = plan(kHost + kApp, kHost + kApp + helper);
  CHECK(more.replan.changes.count("helper") == 0);
  CHECK(more.replan.plan.children.size() == 2);
  CHECK_FALSE(more.is_empty());
  const ReloadPlan fewer = plan(kHost + kApp + helper, kHost + kApp);
  CHECK(fewer.removed == std::vector<std::string>{"helper"});
  CHECK_FALSE(fewer.is_empty());
}

TEST_CASE("a proxy reloads what it reads again, and is replaced for the rest") {
  CHECK(proxy_change("", "timeouts = { stream_idle = \"1m\" }\n") == ChildChange::Reload);
  CHECK(proxy_change("", "[sidecar.proxy.config.upstream.pay]\naddress = [\"pay.example:80\"]\n") ==
        ChildChange::Reload);
  CHECK(proxy_change("", "workers = 2\n") == ChildChange::Replace);
  CHECK(proxy_change("", "health = { listen = \"0.0.0.0:15022\" }\n") == ChildChange::Replace);
  CHECK(proxy_change("", "access_log = { format = \"text\" }\n") == ChildChange::Replace);
  CHECK(proxy_change("", "inbound = { listen = \"0.0.0.0:15106\" }\n") == ChildChange::Replace);
}

TEST_CASE("published ports and captured addresses change while the service runs") {
  const std::string ports = "ports = [{ name = \"http\", port = 8080 }]\n";
  const std::string proxied = kApp + ports + "[sidecar.proxy]\nuse = \"proxy\"\n";
  const auto network = [&](const std::string& lines) { return "[network]\n" + lines + proxied; };
  const std::string one = "publish = [\"18080:8080\"]\n";
  const ReloadPlan published =
      plan(network(one), network("publish = [\"18080:8080\", \"18081:8080\"]\n"));
  CHECK(published.restart_tables.empty());
  CHECK(published.replan.changes.at("proxy") == ChildChange::Replace);
  CHECK(published.replan.changes.at("app") == ChildChange::None);
  const ReloadPlan captured =
      plan(network(one), network(one + "[network.intercept]\nexclude_outbound_ports = [5432]\n"));
  CHECK(captured.restart_tables.empty());
  CHECK(captured.replan.changes.at("app") == ChildChange::None);
  // A datagram port is translated by rules that are made at the start.
  CHECK(plan(network(one), network("publish = [\"18080:8080\", \"18053:53/udp\"]\n"))
            .restart_tables == std::vector<std::string>{"network"});
  CHECK(plan(network(one), network(one + "mtu = 1400\n")).restart_tables ==
        std::vector<std::string>{"network"});
}

TEST_CASE("a port that is declared anew restarts the app only when its command names it") {
  const std::string one = "ports = [{ name = \"http\", port = 8080 }]\n";
  const std::string two =
      "ports = [{ name = \"http\", port = 8080 }, { name = \"more\", port = 9000 }]\n";
  CHECK(plan(kHost + kApp + one, kHost + kApp + two).replan.changes.at("app") ==
        ChildChange::InPlace);
  const std::string named = "[app]\ncommand = [\"/bin/app\", \"{port}\"]\n";
  CHECK(plan(kHost + named + one, kHost + named + two).replan.changes.at("app") ==
        ChildChange::Replace);
}

TEST_CASE("what only a new start can apply is named by its table") {
  CHECK(plan(kHost + kApp, kApp).restart_tables == std::vector<std::string>{"network"});
  CHECK(plan(kHost + kApp, kHost + kApp + "[volume.data]\npath = \"/data\"\n").restart_tables ==
        std::vector<std::string>{"volume"});
  const std::string without = kApp + "ports = [{ name = \"http\", port = 8080 }]\n";
  const auto tables = plan(without, proxy("")).restart_tables;
  CHECK(std::find(tables.begin(), tables.end(), "sidecar.proxy") != tables.end());
}

}  // namespace pillion::supervisor::host
