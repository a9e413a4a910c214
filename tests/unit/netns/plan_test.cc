// From wanted and a machine as observed to steps: whole plans as text, choice of addresses,
// refusals, warnings.
#include "netns/plan.h"

#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

// One uplink, eth9, with IPv4 and IPv6; forwarding is off.
HostState machine() {
  HostState host;
  host.interfaces = {{1, "lo", "", 65536, true, true, ""}, {2, "eth9", "", 1400, true, false, "1"}};
  host.addresses = {{1, *parse_cidr("127.0.0.1/8")}, {2, *parse_cidr("192.0.2.1/24")}};
  host.routes = {{*parse_cidr("0.0.0.0/0"), 2, true},
                 {*parse_cidr("192.0.2.0/24"), 2, false},
                 {*parse_cidr("2001:db8::/64"), 2, false}};
  host.has_ipv6 = true;
  host.is_initial_namespace = true;
  host.resolv_conf = "nameserver 192.0.2.53\n";
  return host;
}

Wanted orders() {
  Wanted wanted;
  wanted.service = "orders";
  return wanted;
}

std::string text_of(const std::vector<Step>& steps) {
  std::string text;
  for (const Step& step : steps) text += describe(step) + "\n";
  return text;
}

Plan plan_of(const Wanted& wanted, const HostState& host) {
  auto plan = plan_create(wanted, host);
  REQUIRE(plan);
  return *plan;
}

std::string error_of(const Wanted& wanted, const HostState& host) {
  auto plan = plan_create(wanted, host);
  return plan ? "" : plan.error().message();
}

}  // namespace

TEST_CASE("the plan of an ordinary service on a machine that does not forward yet") {
  const Plan plan = plan_of(orders(), machine());
  CHECK(text_of(plan.steps) == R"(create network namespace /run/netns/pillion-orders
set lo up (service)
add address ::6/128 to lo (service)
create veth pil325e96ech <-> eth0 (mtu 1400)
set net.ipv4.conf.all.rp_filter = 0 (service)
set net.ipv4.conf.eth0.rp_filter = 2 (service)
set net.ipv6.conf.eth0.accept_dad = 0 (service)
set net.ipv6.conf.eth0.accept_ra = 0 (service)
add address 10.213.91.178/30 to eth0 (service)
add address fd70:696c:6c69:96ec::2/64 to eth0 (service)
set net.ipv4.conf.pil325e96ech.rp_filter = 2 (host)
set net.ipv6.conf.pil325e96ech.accept_dad = 0 (host)
set net.ipv6.conf.pil325e96ech.accept_ra = 0 (host)
add address 10.213.91.177/30 to pil325e96ech (host)
add address fd70:696c:6c69:96ec::1/64 to pil325e96ech (host)
set pil325e96ech up (host)
set eth0 up (service)
add route 0.0.0.0/0 via 10.213.91.177 dev eth0 table 254 (service)
add route ::/0 via fd70:696c:6c69:96ec::1 dev eth0 table 254 (service)
set net.ipv4.ip_forward = 1 (host)
set net.ipv6.conf.eth9.accept_ra = 2 (host)
set net.ipv6.conf.all.forwarding = 1 (host)
load nftables table inet pillion_orders (host)
)");
  CHECK(plan.facts.warnings.size() == 2);
}

TEST_CASE("a machine that forwards already is left as it is") {
  HostState host = machine();
  host.is_forwarding4 = true;
  host.is_forwarding6 = true;
  const Plan plan = plan_of(orders(), host);
  CHECK(text_of(plan.steps).find("forward") == std::string::npos);
  CHECK(plan.facts.warnings.empty());
}

TEST_CASE(
    "IPv6 forwarding is switched on per interface where the kernel can, so that the host keeps its "
    "routers") {
  HostState host = machine();
  host.has_force_forwarding = true;
  const std::string text = text_of(plan_of(orders(), host).steps);
  CHECK(text.find("set net.ipv6.conf.eth9.force_forwarding = 1 (host)\n") != std::string::npos);
  CHECK(text.find("set net.ipv6.conf.pil325e96ech.force_forwarding = 1 (host)\n") !=
        std::string::npos);
  CHECK(text.find("ipv6.conf.all.forwarding") == std::string::npos);
}

TEST_CASE("a host without IPv6 gets a service without IPv6") {
  HostState host = machine();
  host.has_ipv6 = false;
  const Plan plan = plan_of(orders(), host);
  CHECK(plan.facts.address6.empty());
  CHECK(text_of(plan.steps).find("ipv6") == std::string::npos);
  CHECK(text_of(plan.steps).find("::") == std::string::npos);
}

TEST_CASE("addresses that overlap the host's are passed over") {
  HostState host = machine();
  host.addresses.push_back({2, *parse_cidr("10.213.91.179/30")});
  CHECK(plan_of(orders(), host).facts.address4 == "10.213.91.182");
  host.routes.push_back({*parse_cidr("10.213.91.180/30"), 2, true});
  CHECK(plan_of(orders(), host).facts.address4 == "10.213.91.186");
}

TEST_CASE("a wide route through a gateway does not block the pool, but is told") {
  HostState host = machine();
  host.is_forwarding4 = host.is_forwarding6 = true;
  host.routes.push_back({*parse_cidr("10.0.0.0/8"), 2, true});
  const Plan plan = plan_of(orders(), host);
  CHECK(plan.facts.address4 == "10.213.91.178");
  CHECK(plan.facts.warnings ==
        std::vector<std::string>{
            "the service's addresses 10.213.91.176/30 hide those of the host's route "
            "10.0.0.0/8; if that network uses them, set another [network] pool"});
}

TEST_CASE("a wide network on the link blocks the pool") {
  HostState host = machine();
  host.routes.push_back({*parse_cidr("10.0.0.0/8"), 2, false});
  CHECK(error_of(orders(), host) ==
        "no free /30 is left in the address pool 10.213.0.0/16 (16384 tried, each overlaps an "
        "address or route "
        "of the host); set another [network] pool");
}

TEST_CASE("without a default route the smallest uplink decides the MTU") {
  HostState host = machine();
  host.routes.clear();
  host.interfaces.push_back({3, "vpn0", "", 1380, true, false, ""});
  host.interfaces.push_back({4, "pil00000000h", "pillion other", 1200, true, false, ""});
  CHECK(plan_of(orders(), host).facts.mtu == 1380);
  Wanted wanted = orders();
  wanted.mtu = 1280;
  CHECK(plan_of(wanted, host).facts.mtu == 1280);
}

TEST_CASE("an interface of that name that is somebody else's is a clash") {
  HostState host = machine();
  host.interfaces.push_back({3, "pil325e96ech", "pillion other", 1500, true, false, ""});
  CHECK(error_of(orders(), host) ==
        "the interface name pil325e96ech is taken by 'pillion other'; rename one of the two "
        "services");
}

TEST_CASE("published ports that are translated need loopback routing and forget old UDP flows") {
  Wanted wanted = orders();
  wanted.publish = {{"", 5353, 53, Transport::Udp, true}};
  const std::string text = text_of(plan_of(wanted, machine()).steps);
  CHECK(text.find("set net.ipv4.conf.pil325e96ech.route_localnet = 1 (host)\n") !=
        std::string::npos);
  CHECK(text.find("fd70:696c:6c69:96ec::2, udp 5353 (host)\n") != std::string::npos);
}

TEST_CASE("host mode builds nothing, and captures on a machine of its own only by user") {
  Wanted wanted = orders();
  wanted.mode = Mode::Host;
  CHECK(error_of(wanted, machine()).find("set [app] user") != std::string::npos);
  wanted.intercept.only_uids = {10001};
  CHECK(plan_of(wanted, machine()).steps.empty());
  wanted.intercept.only_uids.clear();
  HostState container = machine();
  container.is_initial_namespace = false;
  const Plan plan = plan_of(wanted, container);
  CHECK(plan.facts.capture_table == "pillion_orders");
  CHECK(plan.facts.hosts.empty());
}

TEST_CASE("capture loads the rules of its backend, then lets half-closed connections live") {
  Wanted wanted = orders();
  wanted.intercept.inbound_ports = {8080};
  wanted.intercept.inbound_method = InboundMethod::Tproxy;
  CHECK(text_of(*plan_capture(wanted, false)) == R"(load nftables table inet pillion (service)
set net.netfilter.nf_conntrack_tcp_timeout_close_wait = 3600 (service)
)");
  wanted.intercept.backend = Backend::Iptables;
  CHECK(text_of(*plan_capture(wanted, false)) == R"(load iptables chains of orders (service)
set net.netfilter.nf_conntrack_tcp_timeout_close_wait = 3600 (service)
)");
}

}  // namespace pillion::netns
