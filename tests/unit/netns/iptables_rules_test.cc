// The capture rules for iptables-restore, whole, and their removal.
#include "netns/iptables_rules.h"

#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

Wanted orders() {
  Wanted wanted;
  wanted.service = "orders";
  wanted.intercept.inbound_ports = {8080, 15021};
  wanted.intercept.exempt_uids = {1338};
  return wanted;
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("iptables rules of an ordinary service") {
  CHECK(render_iptables_capture(orders(), Family::V4, "") == R"(*mangle
:PIL325e96ec_PKT - [0:0]
-I PREROUTING 1 -j PIL325e96ec_PKT
-A PIL325e96ec_PKT -p tcp -m conntrack --ctstate INVALID -j DROP
COMMIT
*nat
:PIL325e96ec_IN - [0:0]
:PIL325e96ec_OUT - [0:0]
:PIL325e96ec_CAP - [0:0]
:PIL325e96ec_PRT - [0:0]
:PIL325e96ec_NET - [0:0]
-I PREROUTING 1 -j PIL325e96ec_IN
-I OUTPUT 1 -j PIL325e96ec_OUT
-A PIL325e96ec_IN -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j REDIRECT --to-ports 15006
-A PIL325e96ec_OUT -o lo -s 127.0.0.6/32 -j RETURN
-A PIL325e96ec_OUT -m owner --uid-owner 1337 -o lo ! -d 127.0.0.0/8 -p tcp --dport 8080 -j REDIRECT --to-ports 15006
-A PIL325e96ec_OUT -m owner --uid-owner 1337 -j RETURN
-A PIL325e96ec_OUT -m owner --uid-owner 1338 -j RETURN
-A PIL325e96ec_OUT -j PIL325e96ec_CAP
-A PIL325e96ec_CAP ! -p tcp -j RETURN
-A PIL325e96ec_CAP -o lo -j RETURN
-A PIL325e96ec_CAP -p tcp --dport 53 -j RETURN
-A PIL325e96ec_CAP -p tcp -j PIL325e96ec_PRT
-A PIL325e96ec_PRT -j PIL325e96ec_NET
-A PIL325e96ec_NET -p tcp -j REDIRECT --to-ports 15001
COMMIT
)");
}

TEST_CASE("jumps that are there already are not added again, and only in their own table") {
  const std::string first = render_iptables_capture(orders(), Family::V4, "");
  CHECK(first.find("-I OUTPUT 1") != std::string::npos);
  const std::string existing =
      "*nat\n:OUTPUT ACCEPT [0:0]\n:PIL325e96ec_OUT - [0:0]\n-A OUTPUT -j PIL325e96ec_OUT\nCOMMIT\n"
      "*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n";
  const std::string again = render_iptables_capture(orders(), Family::V4, existing);
  CHECK(again.find("-I OUTPUT 1") == std::string::npos);
  CHECK(has_line(again, "-I PREROUTING 1 -j PIL325e96ec_IN"));
  CHECK(has_line(again, "-I PREROUTING 1 -j PIL325e96ec_PKT"));
}

TEST_CASE("lists become one rule for each element, of its family") {
  Wanted wanted = orders();
  wanted.intercept.exclude_outbound_ports = {{5432, 5432}, {8000, 8010}};
  wanted.intercept.include_outbound_ports = {{80, 80}, {443, 443}};
  wanted.intercept.exclude_outbound_cidrs = {*parse_cidr("10.1.2.3/8"), *parse_cidr("fd00::/8")};
  wanted.intercept.include_outbound_cidrs = {*parse_cidr("192.0.2.0/24")};
  wanted.intercept.only_uids = {10001, 10002};
  wanted.intercept.exclude_interfaces = {"net1"};
  const std::string v4 = render_iptables_capture(wanted, Family::V4, "");
  for (const char* rule :
       {"_CAP -p tcp --dport 5432 -j RETURN", "_CAP -p tcp --dport 8000:8010 -j RETURN",
        "_CAP -d 10.0.0.0/8 -j RETURN", "_CAP -p tcp --dport 80 -j PIL325e96ec_PRT",
        "_CAP -p tcp --dport 443 -j PIL325e96ec_PRT", "_PRT -d 192.0.2.0/24 -j PIL325e96ec_NET",
        "_OUT -m owner --uid-owner 10001 -j PIL325e96ec_CAP",
        "_OUT -m owner --uid-owner 10002 -j PIL325e96ec_CAP", "_OUT -o net1 -j RETURN",
        "_IN -i net1 -j RETURN"}) {
    CHECK(has_line(v4, std::string("-A PIL325e96ec") + rule));
  }
  CHECK(v4.find("fd00") == std::string::npos);
  CHECK_FALSE(has_line(v4, "-A PIL325e96ec_OUT -j PIL325e96ec_CAP"));
  const std::string v6 = render_iptables_capture(wanted, Family::V6, "");
  CHECK(has_line(v6, "-A PIL325e96ec_CAP -d fd00::/8 -j RETURN"));
  CHECK(has_line(v6, "-A PIL325e96ec_OUT -o lo -s ::6/128 -j RETURN"));
  // Only IPv4 is included: no IPv6 network leads to the redirection.
  CHECK(v6.find("-j PIL325e96ec_NET") == std::string::npos);
}

TEST_CASE("DNS capture comes with connection tracking zones, before loopback is let go") {
  Wanted wanted = orders();
  wanted.intercept.dns = true;
  const std::string text = render_iptables_capture(wanted, Family::V4, "");
  CHECK(has_line(text, "-A PIL325e96ec_CAP -p udp --dport 53 -j REDIRECT --to-ports 15053"));
  CHECK(has_line(text, "-A PIL325e96ec_ZO -p udp --sport 15053 -j CT --zone 2"));
  CHECK(text.find("--dport 53 -j REDIRECT") < text.find("_CAP -o lo -j RETURN"));
}

TEST_CASE("tproxy of iptables needs no redirection of what comes in") {
  Wanted wanted = orders();
  wanted.intercept.inbound_method = InboundMethod::Tproxy;
  const std::string text = render_iptables_capture(wanted, Family::V4, "");
  CHECK(has_line(text,
                 "-A PIL325e96ec_PKT ! -i lo -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j "
                 "TPROXY --on-port 15006"));
  CHECK(text.find("_IN -p tcp") == std::string::npos);
}

TEST_CASE("all inbound ports: exceptions first") {
  Wanted wanted = orders();
  wanted.intercept.all_inbound_ports = true;
  wanted.intercept.exclude_inbound_ports = {22};
  const std::string text = render_iptables_capture(wanted, Family::V4, "");
  CHECK(text.find("_IN -p tcp --dport 22 -j RETURN") <
        text.find("_IN -p tcp -m addrtype --dst-type LOCAL -j REDIRECT"));
}

TEST_CASE("removal takes jumps first, then chains, and names nothing that is not there") {
  const std::string existing =
      "*nat\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n:PIL325e96ec_OUT - [0:0]\n:PIL325e96ec_CAP - "
      "[0:0]\n"
      "-A OUTPUT -j DOCKER\n-A OUTPUT -j PIL325e96ec_OUT\n-A PIL325e96ec_OUT -j "
      "PIL325e96ec_CAP\nCOMMIT\n";
  CHECK(render_iptables_removal("orders", existing) == R"(*nat
-D OUTPUT -j PIL325e96ec_OUT
-F PIL325e96ec_OUT
-F PIL325e96ec_CAP
-X PIL325e96ec_OUT
-X PIL325e96ec_CAP
COMMIT
)");
  CHECK(render_iptables_removal("orders", "").empty());
  CHECK(render_iptables_removal("payments", existing).empty());
}

TEST_CASE("a table is unused when it has neither rules nor chains nor policies of anybody") {
  const std::string listing =
      "*raw\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*mangle\n:INPUT DROP [0:0]\nCOMMIT\n"
      "*nat\n:OUTPUT ACCEPT [0:0]\n:DOCKER - [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n";
  CHECK(unused_iptables_tables(listing) == std::vector<std::string>{"raw"});
}

}  // namespace pillion::netns
