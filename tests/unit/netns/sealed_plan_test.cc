// The sealed namespace: its steps as text, its rules before and with capture, what it refuses.
#include "netns/sealed_plan.h"

#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

Wanted sealed() {
  Wanted wanted;
  wanted.service = "orders";
  wanted.mode = Mode::Sealed;
  return wanted;
}

HostState machine(bool has_ipv6) {
  HostState host;
  host.has_ipv6 = has_ipv6;
  host.resolv_conf = "nameserver 192.0.2.53\nsearch example.org\n";
  return host;
}

std::string text_of(const Plan& plan) {
  std::string text;
  for (const Step& step : plan.steps) text += describe(step) + "\n";
  return text;
}

}  // namespace

TEST_CASE("a sealed namespace has lo, on which every address is its own") {
  auto plan = plan_sealed(sealed(), machine(true));
  REQUIRE(plan);
  CHECK(text_of(*plan) == R"(create network namespace /run/netns/pillion-orders
set lo up (service)
add address 127.0.0.6/32 to lo (service)
add local route 0.0.0.0/0 dev lo src 127.0.0.1 table 255 (service)
add address ::6/128 to lo (service)
add local route ::/0 dev lo src ::1 table 255 (service)
load nftables table inet pillion (service)
)");
  CHECK(plan->facts.resolv_conf.find("nameserver 127.0.0.1\n") != std::string::npos);
  CHECK(plan->facts.resolv_conf.find("192.0.2.53") == std::string::npos);
  CHECK(plan->facts.resolv_conf.find("search example.org") != std::string::npos);
}

TEST_CASE("without IPv6 on the machine there is none inside") {
  auto plan = plan_sealed(sealed(), machine(false));
  REQUIRE(plan);
  CHECK(text_of(*plan).find("::") == std::string::npos);
}

TEST_CASE("a namespace that was made for us is neither created nor pinned") {
  Wanted wanted = sealed();
  wanted.is_in_place = true;
  auto plan = plan_sealed(wanted, machine(true));
  REQUIRE(plan);
  CHECK(plan->facts.netns_path.empty());
  CHECK(text_of(*plan).starts_with("set lo up"));
}

TEST_CASE("before capture every connection is reset, with it TCP goes to the proxy") {
  CHECK(render_sealed_rules(sealed(), false).find("tproxy") == std::string::npos);
  CHECK(render_sealed_rules(sealed(), false).find("reject with tcp reset") != std::string::npos);
  const std::string captured = render_sealed_rules(sealed(), true);
  CHECK(captured.find("tproxy ip to 127.0.0.1:15001") != std::string::npos);
  CHECK(captured.find("tproxy ip6 to [::1]:15001") != std::string::npos);
  // No translation, so no connection tracking.
  CHECK(captured.find("type nat") == std::string::npos);
}

TEST_CASE("DNS is let through only where a resolver listens") {
  Wanted wanted = sealed();
  CHECK(render_sealed_rules(wanted, true).find("dport 53") == std::string::npos);
  wanted.intercept.dns = true;
  CHECK(render_sealed_rules(wanted, true).find("tcp dport 53 return") != std::string::npos);
  CHECK(render_sealed_rules(wanted, true).find("th dport 53 accept") != std::string::npos);
}

TEST_CASE("what needs address translation cannot be published") {
  Wanted wanted = sealed();
  wanted.publish = {{"", 5353, 53, Transport::Udp, true}};
  auto plan = plan_sealed(wanted, machine(true));
  REQUIRE(!plan);
  CHECK(plan.error().message().find("udp port 5353 cannot be published") != std::string::npos);
  wanted.publish = {{"", 8080, 80, Transport::Tcp, true}};
  plan = plan_sealed(wanted, machine(true));
  REQUIRE(!plan);
  CHECK(plan.error().message().find("without the proxy") != std::string::npos);
}

TEST_CASE("settings without effect in a sealed namespace are named") {
  Wanted wanted = sealed();
  wanted.intercept.exclude_outbound_ports = {{22, 22}};
  auto plan = plan_sealed(wanted, machine(true));
  REQUIRE(plan);
  REQUIRE(plan->facts.warnings.size() == 1);
  CHECK(plan->facts.warnings[0].find("exclude_outbound_*") != std::string::npos);
}

}  // namespace pillion::netns
