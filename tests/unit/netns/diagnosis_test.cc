// What the doctor makes of what it saw, where a real network cannot easily be brought to show it;
// tests/integration/netns_doctor breaks the rest for real.
#include "netns/diagnosis.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace pillion::netns {
namespace {

constexpr const char* kNftRules = R"(table inet pillion {
	comment "pillion 0a1b2c3d"
	chain inbound_packets {
		type filter hook prerouting priority mangle - 0; policy accept;
		meta l4proto tcp ct state invalid counter packets 3 bytes 180 drop
	}
	chain outbound_nat {
		type nat hook output priority -100; policy accept;
		meta skuid 1337 counter packets 5 bytes 300 return
		meta l4proto tcp counter packets 12 bytes 720 redirect to :15001
		tcp dport 15 counter packets 100 bytes 1 redirect to :150010
	}
}
)";
constexpr const char* kIptablesRules = R"(# IPv4 iptables-nft
*mangle
[2:120] -A PIL0a1b2c3d_PKT -p tcp -m conntrack --ctstate INVALID -j DROP
*nat
[7:420] -A PIL0a1b2c3d_NET -p tcp -j REDIRECT --to-ports 15001
[0:0] -A OUTPUT -j PIL0a1b2c3d_OUT
)";

View healthy() {
  View view;
  view.wanted.service = "orders";
  view.wanted.intercept.inbound_ports = {8080};
  view.capture_rules = view.expected_rules = kNftRules;
  view.host_rules = "table inet pillion_orders {\n}\n";
  view.sockets.emplace();
  for (const std::uint16_t port : std::vector<std::uint16_t>{15001, 15006, 8080}) {
    TcpSocket socket;
    socket.state = kTcpListen;
    socket.local_port = port;
    socket.send_queue = 64;
    socket.uid = 10001;
    view.sockets->push_back(socket);
  }
  view.connections = {{Family::V4, true, true, 1, 2}};
  view.queries = {{"10.0.0.1", true}};
  view.conntrack_max = 1000;
  view.close_wait_seconds = 3600;
  return view;
}

std::vector<Finding> complaints(const View& view) {
  auto findings = diagnose(view);
  findings.erase(
      std::remove_if(findings.begin(), findings.end(),
                     [](const Finding& finding) { return finding.verdict == Verdict::Ok; }),
      findings.end());
  return findings;
}

void check_one(const View& view, const std::string& check, Verdict verdict) {
  const auto found = complaints(view);
  INFO(findings_to_text(found));
  REQUIRE(found.size() == 1);
  CHECK(found[0].check == check);
  CHECK(found[0].verdict == verdict);
}

TEST_CASE("nothing is wrong with a healthy network") { CHECK(complaints(healthy()).empty()); }

TEST_CASE("a full connection table is a problem, an old overflow is not") {
  View view = healthy();
  view.conntrack_count = 960;
  check_one(view, "conntrack", Verdict::Problem);
  view.conntrack_count = 600;
  view.conntrack_dropped = 4;
  check_one(view, "conntrack", Verdict::Problem);
  view.conntrack_count = 100;
  CHECK(complaints(view).empty());
}

TEST_CASE("what could not be tried is unknown, not well") {
  View view = healthy();
  view.connections.clear();
  view.connection_problem = "no trial connection was made";
  check_one(view, "capture", Verdict::Unknown);
}

TEST_CASE("a family without a route is not judged") {
  View view = healthy();
  view.connections.push_back({Family::V6, false, false, 0, 0});
  CHECK(complaints(view).empty());
}

TEST_CASE("packets to a port are counted in the text of either backend") {
  CHECK(packets_to_port(kNftRules, 15001) == 12);
  CHECK(packets_to_port(kIptablesRules, 15001) == 7);
  CHECK(packets_to_port(kNftRules, 15006) == 0);
  CHECK(invalid_packets(kNftRules) == 3);
  CHECK(invalid_packets(kIptablesRules) == 2);
  CHECK(count_rules(kNftRules) == 4);
  CHECK(count_rules(kIptablesRules) == 2);
}

TEST_CASE("findings survive their JSON") {
  const std::vector<Finding> findings = {{"rules", Verdict::Problem, "there are \"none\"", "look"},
                                         {"dns", Verdict::Ok, "the name server answers", ""},
                                         {"capture", Verdict::Unknown, "not tried", ""}};
  const auto parsed = parse_findings(findings_to_json(findings));
  REQUIRE(parsed);
  CHECK(*parsed == findings);
  CHECK(exit_code_of(findings) == 1);
  CHECK_FALSE(parse_findings("{}"));
}

}  // namespace
}  // namespace pillion::netns
