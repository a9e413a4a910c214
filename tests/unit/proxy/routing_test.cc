// Which upstream an exchange goes to.
#include "proxy/router.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;
namespace config = pillion::config;

namespace {

Snapshot make_snapshot(
    config::UnknownDestination unknown = config::UnknownDestination::Passthrough) {
  config::ProxyConfig proxy;
  config::Upstream payments;
  payments.name = "payments";
  payments.hosts = {"payments", "Pay.Internal"};
  config::Upstream users;
  users.name = "users";
  proxy.upstreams = {payments, users};
  proxy.outbound.unknown = unknown;
  proxy.inbound.ports = {
      {.name = "http", .port = 8080, .protocol = config::ProxyProtocol::Http, .mutual_tls = {}}};
  return Snapshot(std::move(proxy));
}

// Who "*.example.com" and the like lead to, and what TLS is led by.
Snapshot make_pattern_snapshot(bool has_any = true) {
  const auto upstream = [](std::string name, std::vector<std::string> hosts,
                           config::ProxyProtocol protocol = config::ProxyProtocol::Http) {
    config::Upstream one;
    one.name = std::move(name);
    one.hosts = std::move(hosts);
    one.protocol = protocol;
    return one;
  };
  config::ProxyConfig proxy;
  proxy.upstreams = {upstream("wide", {"*.Example.com"}),
                     upstream("narrow", {"*.eu.example.com", "api.example.com."}),
                     upstream("tls", {"*.tls.test", "one.example.com"}, config::ProxyProtocol::Tls),
                     upstream("tcp", {"*.test"}, config::ProxyProtocol::Tcp)};
  if (has_any) proxy.upstreams.push_back(upstream("rest", {"*"}));
  return Snapshot(std::move(proxy));
}

Address address(std::string_view ip, std::uint16_t port) {
  return Address(*config::IpAddress::parse(ip), port);
}

RouteAnswer ask(const Snapshot& snapshot, ListenerKind kind, std::string_view authority,
                const Address& destination = address("93.184.216.34", 80),
                std::optional<std::size_t> upstream = {}) {
  return choose_route(snapshot, {kind, authority, destination, upstream});
}

}  // namespace

TEST_CASE("a captured request goes to the upstream that its Host names") {
  const Snapshot snapshot = make_snapshot();
  for (const char* host :
       {"payments", "PAYMENTS", "payments:8080", "pay.internal", "pay.internal:1"}) {
    CAPTURE(host);
    const RouteAnswer answer = ask(snapshot, ListenerKind::Outbound, host);
    CHECK(answer.kind == RouteAnswer::Kind::Upstream);
    CHECK(answer.upstream == 0);
  }
  CHECK(ask(snapshot, ListenerKind::Outbound, "users").upstream == 1);
}

TEST_CASE("an unknown Host goes where the connection was going, or nowhere") {
  CHECK(ask(make_snapshot(), ListenerKind::Outbound, "example.com").kind ==
        RouteAnswer::Kind::Destination);
  CHECK(
      ask(make_snapshot(config::UnknownDestination::Refuse), ListenerKind::Outbound, "example.com")
          .kind == RouteAnswer::Kind::Refused);
}

TEST_CASE("a virtual address stands for its upstream") {
  const Snapshot snapshot = make_snapshot();
  const auto at = [&](std::string_view ip) {
    return ask(snapshot, ListenerKind::Outbound, "alias", address(ip, 80));
  };
  CHECK(at("240.240.0.1").upstream == 0);
  CHECK(at("240.240.0.2").upstream == 1);
  CHECK(at("240.240.0.2").kind == RouteAnswer::Kind::Upstream);
  CHECK(at("240.240.0.3").kind == RouteAnswer::Kind::Refused);
  CHECK(at("240.240.0.0").kind == RouteAnswer::Kind::Refused);
}

TEST_CASE("inbound requests go to the app whatever they name") {
  CHECK(ask(make_snapshot(), ListenerKind::Inbound, "payments").kind ==
        RouteAnswer::Kind::Destination);
  CHECK(ask(make_snapshot(), ListenerKind::Publish, "payments").kind ==
        RouteAnswer::Kind::Destination);
}

TEST_CASE("an explicit listener uses its upstream, or the Host") {
  const Snapshot snapshot = make_snapshot();
  CHECK(ask(snapshot, ListenerKind::Explicit, "anything", {}, 1).upstream == 1);
  CHECK(ask(snapshot, ListenerKind::Explicit, "payments").upstream == 0);
  CHECK(ask(snapshot, ListenerKind::Explicit, "unknown").kind == RouteAnswer::Kind::Refused);
}

TEST_CASE("an exact name comes first, then the longest pattern, then the one for all") {
  const Snapshot snapshot = make_pattern_snapshot();
  const auto to = [&](std::string_view host) {
    return ask(snapshot, ListenerKind::Outbound, host).upstream;
  };
  CHECK(to("www.example.com") == 0);
  CHECK(to("WWW.EXAMPLE.COM:8080") == 0);
  CHECK(to("a.b.example.com.") == 0);
  CHECK(to("x.eu.example.com") == 1);
  CHECK(to("eu.example.com") == 0);  // below example.com, but not below itself
  CHECK(to("api.example.com") == 1);
  CHECK(to("v2.api.example.com") == 0);
  CHECK(to("one.example.com") == 0);  // that name is of an upstream which takes TLS alone
  for (const char* host : {"example.com", ".example.com", "notexample.com", "example.com.evil",
                           "10.0.0.1", "[::1]:80", "localhost"}) {
    CAPTURE(host);
    CHECK(to(host) == 4);
  }
  CHECK(to(std::string(253, 'a')) == 4);
  std::string labels;
  while (labels.size() < 240) labels += "a.";
  CHECK(to(labels + "example.com") == 0);
}

TEST_CASE("the pattern for all takes no request without a name and no virtual address") {
  const Snapshot snapshot = make_pattern_snapshot();
  CHECK(ask(snapshot, ListenerKind::Outbound, "").kind == RouteAnswer::Kind::Destination);
  CHECK(ask(snapshot, ListenerKind::Explicit, "").kind == RouteAnswer::Kind::Refused);
  const auto at = [&](std::string_view ip) {
    return ask(snapshot, ListenerKind::Outbound, "alias", address(ip, 80));
  };
  CHECK(at("240.240.0.2").upstream == 1);
  CHECK(at("240.240.0.9").kind == RouteAnswer::Kind::Refused);
  CHECK(ask(snapshot, ListenerKind::Explicit, "alias").upstream == 4);
  CHECK(ask(make_pattern_snapshot(false), ListenerKind::Outbound, "alias").kind ==
        RouteAnswer::Kind::Destination);
}

TEST_CASE("the name in a ClientHello is looked up among those who take TLS as it is") {
  const Snapshot snapshot = make_pattern_snapshot();
  CHECK(snapshot.upstream_of_server_name("a.tls.test") == 2);
  CHECK(snapshot.upstream_of_server_name("tls.test") == 3);
  CHECK(snapshot.upstream_of_server_name("one.example.com") == 2);
  for (const char* name : {"www.example.com", "test", "", "other.org"}) {
    CAPTURE(name);
    CHECK_FALSE(snapshot.upstream_of_server_name(name));
  }
}

TEST_CASE("declared ports are found, others are not") {
  const Snapshot snapshot = make_snapshot();
  REQUIRE(snapshot.inbound_port(8080) != nullptr);
  CHECK(snapshot.inbound_port(8081) == nullptr);
  CHECK(is_server_first_port(3306));
  CHECK_FALSE(is_server_first_port(8080));
}

TEST_CASE("addresses print and compare as people expect") {
  CHECK(address("10.0.0.255", 65535).to_string() == "10.0.0.255:65535");
  CHECK(address("::1", 80).to_string() == "[::1]:80");
  CHECK(address("127.0.0.1", 1) == address("127.0.0.1", 1));
  CHECK_FALSE(address("127.0.0.1", 1) == address("127.0.0.1", 2));
  CHECK(address("127.0.0.1", 1).with_port(2).port() == 2);
  CHECK(address("127.3.2.1", 1).is_loopback());
  CHECK(address("::1", 1).is_loopback());
  sockaddr_in6 mapped{};
  mapped.sin6_family = AF_INET6;
  mapped.sin6_port = htons(80);
  mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
  mapped.sin6_addr.s6_addr[12] = 10;
  mapped.sin6_addr.s6_addr[15] = 7;
  CHECK(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&mapped)).to_string() == "10.0.0.7:80");
}
