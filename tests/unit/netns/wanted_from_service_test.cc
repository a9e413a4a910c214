// What a service file wants of the network, from structs as the loader fills them.
#include "netns/wanted_from_service.h"

#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

config::Child child_of(std::string name, config::Role role, std::uint32_t uid) {
  config::Child child;
  child.name = std::move(name);
  child.role = role;
  child.user = config::UserRef{"", uid, uid};
  return child;
}

config::Service orders() {
  config::Service service;
  service.settings.name = "orders";
  service.network.intercept.inbound = true;
  service.network.intercept.outbound = true;
  auto proxy = child_of("proxy", config::Role::Sidecar, 1337);
  proxy.use = config::Component::Proxy;
  config::ProxyConfig settings;
  settings.upstreams.resize(2);
  settings.upstreams[0].name = "users";
  settings.upstreams[1].name = "search";
  settings.upstreams[1].hosts = {"search.internal", "*.search.internal", "192.0.2.7"};
  proxy.config = settings;
  service.children = {child_of("logs", config::Role::Adapter, 1338), proxy,
                      child_of("app", config::Role::App, 10001)};
  service.children.back().ports = {{"http", 8080, config::AppProtocol::Http},
                                   {"dns", 53, config::AppProtocol::Udp}};
  return service;
}

}  // namespace

TEST_CASE("helpers are exempt by user, the app is not") {
  const Wanted wanted = wanted_from_service(orders());
  CHECK(wanted.intercept.proxy_uid == 1337);
  CHECK(wanted.intercept.exempt_uids == std::vector<std::uint32_t>{1338});
  CHECK(wanted.intercept.only_uids.empty());
  CHECK(wanted.intercept.inbound_ports == std::vector<std::uint16_t>{8080});
}

TEST_CASE("a helper that asks for capture, or shares the app's user, is not exempt") {
  auto service = orders();
  service.children[0].capture = true;
  CHECK(wanted_from_service(service).intercept.exempt_uids.empty());
  service.children[0].capture = false;
  service.children[0].user->uid = 10001;
  CHECK(wanted_from_service(service).intercept.exempt_uids.empty());
}

TEST_CASE(
    "upstreams get virtual addresses by position, without names that no hosts file can hold") {
  const Wanted wanted = wanted_from_service(orders());
  CHECK(wanted.aliases ==
        std::vector<HostAlias>{{"240.240.0.1", {"users"}}, {"240.240.0.2", {"search.internal"}}});
  auto uncaptured = orders();
  uncaptured.network.intercept.outbound = false;
  CHECK(wanted_from_service(uncaptured).aliases.empty());
}

TEST_CASE("published ports are translated only where no inbound listener takes them") {
  auto service = orders();
  service.network.publish = {
      {std::nullopt, {8000, 8001}, {9000, 9001}, config::Transport::Tcp},
      {config::IpAddress::parse("127.0.0.1"), {5353, 5353}, {53, 53}, config::Transport::Udp}};
  CHECK(wanted_from_service(service).publish ==
        std::vector<Publish>{{"", 8000, 9000, Transport::Tcp, false},
                             {"", 8001, 9001, Transport::Tcp, false},
                             {"127.0.0.1", 5353, 53, Transport::Udp, true}});
  service.network.intercept.inbound = false;
  CHECK(wanted_from_service(service).publish[0].is_translated);
}

TEST_CASE("in the machine's own namespace only the service's users are captured") {
  auto service = orders();
  service.network.mode = config::NetworkMode::Host;
  CHECK(wanted_from_service(service).intercept.only_uids == std::vector<std::uint32_t>{10001});
  service.children.back().user.reset();
  CHECK(wanted_from_service(service).intercept.only_uids.empty());
}

TEST_CASE("a number to join is a process") {
  auto service = orders();
  service.network.mode = config::NetworkMode::Join;
  service.network.join = "4711";
  CHECK(wanted_from_service(service).join == "pid:4711");
  service.network.join = "blue";
  CHECK(wanted_from_service(service).join == "blue");
}

}  // namespace pillion::netns
