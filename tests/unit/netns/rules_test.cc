// The rule texts, whole: what is loaded inside a service's namespace and on the host.
#include "netns/rules.h"

#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

Wanted orders() {
  Wanted wanted;
  wanted.service = "orders";
  wanted.intercept.inbound_ports = {8080, 15021, 8443};
  wanted.intercept.exempt_uids = {1338, 1339};
  return wanted;
}

Facts orders_facts() {
  Facts facts;
  facts.address4 = "10.213.0.2";
  facts.address6 = "fd70::2";
  facts.host_interface = "pil325e96ech";
  facts.host_table = "pillion_orders";
  return facts;
}

// Without the table's comment, which is a hash of what follows.
std::string without_comment(std::string text) {
  const auto at = text.find("  comment \"pillion ");
  REQUIRE(at != std::string::npos);
  return text.erase(at, text.find('\n', at) + 1 - at);
}

bool has_line(const std::string& text, const std::string& line) {
  return text.find("    " + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("capture rules of an ordinary service") {
  CHECK(without_comment(render_capture_rules(orders())) == R"(table inet pillion
delete table inet pillion
table inet pillion {
  set inbound_ports {
    type inet_service; flags interval; auto-merge;
    elements = { 8080, 8443 }
  }
  chain inbound_packets {
    type filter hook prerouting priority -150; policy accept;
    meta l4proto tcp ct state invalid counter drop
  }
  chain inbound_nat {
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local tcp dport @inbound_ports counter redirect to :15006
  }
  chain outbound_nat {
    type nat hook output priority -100; policy accept;
    oifname "lo" ip saddr 127.0.0.6 counter return
    oifname "lo" ip6 saddr ::6 counter return
    meta skuid 1337 oifname "lo" ip daddr != 127.0.0.0/8 tcp dport @inbound_ports counter redirect to :15006
    meta skuid 1337 oifname "lo" ip6 daddr != ::1 tcp dport @inbound_ports counter redirect to :15006
    meta skuid 1337 counter return
    meta skuid { 1338, 1339 } counter return
    meta l4proto != tcp return
    oifname "lo" counter return
    tcp dport 53 counter return
    meta l4proto tcp counter redirect to :15001
  }
}
)");
}

TEST_CASE("inbound capture by tproxy translates nothing") {
  Wanted wanted = orders();
  wanted.intercept.outbound = false;
  wanted.intercept.inbound_method = InboundMethod::Tproxy;
  CHECK(without_comment(render_capture_rules(wanted)) == R"(table inet pillion
delete table inet pillion
table inet pillion {
  set inbound_ports {
    type inet_service; flags interval; auto-merge;
    elements = { 8080, 8443 }
  }
  chain inbound_packets {
    type filter hook prerouting priority -150; policy accept;
    meta l4proto tcp ct state invalid counter drop
    iifname != "lo" meta nfproto ipv4 fib daddr type local tcp dport @inbound_ports counter tproxy ip to :15006 accept
    iifname != "lo" meta nfproto ipv6 fib daddr type local tcp dport @inbound_ports counter tproxy ip6 to :15006 accept
    iifname != "lo" fib daddr type local tcp dport @inbound_ports ct state new counter reject with tcp reset
  }
}
)");
}

TEST_CASE("open while the proxy is down: tproxy lets connections through to the app") {
  Wanted wanted = orders();
  wanted.intercept.inbound_method = InboundMethod::Tproxy;
  CHECK(render_capture_rules(wanted).find("reject") != std::string::npos);
  wanted.intercept.when_proxy_down = ProxyDown::Open;
  CHECK(render_capture_rules(wanted).find("reject") == std::string::npos);
}

TEST_CASE("every port is captured but excluded ones and Pillion's own") {
  Wanted wanted = orders();
  wanted.intercept.all_inbound_ports = true;
  wanted.intercept.exclude_inbound_ports = {22};
  wanted.intercept.inbound_port = 16006;
  const std::string rules = render_capture_rules(wanted);
  CHECK(has_line(rules, "elements = { 15001, 16006, 15053, 15021, 15090, 9901, 22 }"));
  CHECK(has_line(rules,
                 "fib daddr type local tcp dport != @uncaptured_ports counter redirect to :16006"));
}

TEST_CASE("interfaces are excluded in both directions, groups can be the only ones captured") {
  Wanted wanted = orders();
  wanted.intercept.exclude_interfaces = {"net1", "eth1.100"};
  wanted.intercept.only_gids = {500};
  const std::string rules = render_capture_rules(wanted);
  CHECK(has_line(rules, "iifname { \"net1\", \"eth1.100\" } counter return"));
  CHECK(has_line(rules, "oifname { \"net1\", \"eth1.100\" } counter return"));
  CHECK(has_line(rules, "meta skgid != { 500 } counter return"));
}

TEST_CASE("the comment differs when the rules differ, and only then") {
  Wanted wanted = orders();
  const std::string first = render_capture_rules(wanted);
  CHECK(render_capture_rules(wanted) == first);
  wanted.intercept.exempt_uids.push_back(7);
  const auto comment = [](const std::string& rules) {
    return rules.substr(rules.find("comment"), 28);
  };
  CHECK(comment(render_capture_rules(wanted)) != comment(first));
}

TEST_CASE("rules for a table that must not exist yet differ in their beginning only") {
  const std::string rules = render_capture_rules(orders());
  const std::string creating = creating_rules(rules, "pillion");
  CHECK(creating.starts_with("create table inet pillion {\n  comment \"pillion "));
  const std::size_t rest = creating.find("}\n") + 2;
  CHECK(rules == "table inet pillion\ndelete table inet pillion\n" + creating.substr(rest));
}

TEST_CASE("exclusions and inclusions become sets of their family") {
  Wanted wanted = orders();
  wanted.intercept.inbound = false;
  wanted.intercept.exclude_outbound_ports = {{5432, 5432}, {8000, 8010}};
  wanted.intercept.include_outbound_ports = {{80, 80}};
  wanted.intercept.exclude_outbound_cidrs = {*parse_cidr("10.1.2.3/8"), *parse_cidr("fd00::/8")};
  wanted.intercept.include_outbound_cidrs = {*parse_cidr("192.0.2.0/24")};
  const std::string rules = render_capture_rules(wanted);
  CHECK(has_line(rules, "elements = { 5432, 8000-8010 }"));
  CHECK(has_line(rules, "elements = { 10.0.0.0/8 }"));
  CHECK(has_line(rules, "elements = { fd00::/8 }"));
  CHECK(has_line(rules, "tcp dport @excluded_ports counter return"));
  CHECK(has_line(rules, "tcp dport != @included_ports counter return"));
  CHECK(has_line(rules, "ip daddr @excluded_v4 counter return"));
  CHECK(has_line(rules, "ip6 daddr @excluded_v6 counter return"));
  CHECK(has_line(rules, "ip daddr != @included_v4 counter return"));
  // Only IPv4 is included, so all of IPv6 is left alone.
  CHECK(has_line(rules, "meta nfproto ipv6 counter return"));
  CHECK(rules.find("15006") == std::string::npos);
}

TEST_CASE("without outbound capture only DNS is redirected where that is wanted") {
  Wanted wanted = orders();
  wanted.intercept.outbound = false;
  CHECK(render_capture_rules(wanted).find("outbound_nat") == std::string::npos);
  wanted.intercept.dns = true;
  const std::string rules = render_capture_rules(wanted);
  CHECK(has_line(rules, "udp dport 53 counter redirect to :15053"));
  CHECK(has_line(rules, "udp sport 15053 counter ct zone set 2"));
  CHECK(rules.find("15001") == std::string::npos);
}

TEST_CASE(
    "in a shared namespace the table has the service's name, and only its users are captured") {
  Wanted wanted = orders();
  wanted.service = "order-processor";
  wanted.mode = Mode::Host;
  wanted.intercept.only_uids = {10001};
  const std::string rules = render_capture_rules(wanted);
  CHECK(rules.starts_with("table inet pillion_order_processor\n"));
  CHECK(has_line(rules, "meta skuid != { 10001 } counter return"));
}

TEST_CASE("host rules of an ordinary service") {
  CHECK(without_comment(render_host_rules(orders(), orders_facts())) == R"(table inet pillion_orders
delete table inet pillion_orders
table inet pillion_orders {
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "pil325e96ech" ip daddr 240.240.0.0/16 counter reject with icmpx type host-unreachable
    iifname "pil325e96ech" ip saddr != 10.213.0.2 counter drop
    iifname "pil325e96ech" ip6 saddr != fd70::2 counter drop
    iifname "pil325e96ech" counter accept
    oifname "pil325e96ech" ct state established,related counter accept
    oifname "pil325e96ech" ct status dnat counter accept
    oifname "pil325e96ech" counter drop
  }
  chain source_nat {
    type nat hook postrouting priority 100; policy accept;
    oifname != "pil325e96ech" ip saddr 10.213.0.2 counter masquerade
    oifname != "pil325e96ech" ip6 saddr fd70::2 counter masquerade
  }
}
)");
}

TEST_CASE("translated ports are published on every address or on one, others not at all") {
  Wanted wanted = orders();
  wanted.publish = {{"", 5353, 53, Transport::Udp, true},
                    {"192.0.2.1", 8081, 8080, Transport::Tcp, true},
                    {"2001:db8::1", 8081, 8080, Transport::Tcp, true},
                    {"", 9000, 9000, Transport::Tcp, false}};
  const std::string rules = render_host_rules(wanted, orders_facts());
  CHECK(has_line(rules,
                 "meta nfproto ipv4 fib daddr type local udp dport 5353 counter dnat ip to "
                 "10.213.0.2:53"));
  CHECK(has_line(rules,
                 "ip6 daddr != ::1 fib daddr type local udp dport 5353 counter dnat ip6 to "
                 "[fd70::2]:53"));
  CHECK(has_line(rules,
                 "meta nfproto ipv4 ip daddr 192.0.2.1 tcp dport 8081 counter dnat ip to "
                 "10.213.0.2:8080"));
  CHECK(has_line(rules,
                 "ip6 daddr != ::1 ip6 daddr 2001:db8::1 tcp dport 8081 counter dnat ip6 to "
                 "[fd70::2]:8080"));
  CHECK(has_line(rules, "iifname \"pil325e96ech\" ip daddr 127.0.0.0/8 counter drop"));
  CHECK(rules.find("9000") == std::string::npos);
}

}  // namespace pillion::netns
