// From what was seen of a service's network to findings: every judgement of `doctor` is here. Pure;
// doctor.cc looks, and makes one harmless connection to see whether capture takes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "netns/finding.h"
#include "netns/sockets.h"
#include "netns/wanted.h"

namespace pillion::netns {

// One connection that was made from inside, as a user that should be captured.
struct TrialConnection {
  Family family = Family::V4;
  bool has_route = true;             // false: the namespace has no such family
  bool is_accepted = false;          // somebody took it; else it was refused or timed out
  std::uint64_t packets_before = 0;  // of the rules that redirect to the proxy
  std::uint64_t packets_after = 0;
};

struct TrialQuery {
  std::string server;
  bool is_answered = false;
};

struct View {
  Wanted wanted;
  std::string namespace_problem;   // why it could not be entered; "" = all below was looked at
  std::string nftables_problem;    // "" = the kernel has it and we may use it
  std::string capture_rules;       // nft or iptables-save text with counters; "" = none
  std::string expected_rules;      // what the configuration asks for, by the backend in use
  std::string host_rules;          // bridged
  bool has_host_interface = true;  // bridged: up and with an address
  bool has_inner_interface = true;
  std::vector<std::uint32_t> app_uids;  // of the app's processes, as far as known
  std::optional<std::vector<TcpSocket>> sockets;
  std::vector<TrialConnection> connections;
  std::string connection_problem;  // why none was tried
  std::vector<TrialQuery> queries;
  std::uint64_t conntrack_count = 0;
  std::uint64_t conntrack_max = 0;       // 0 = not in use
  std::uint64_t conntrack_dropped = 0;   // packets, because the table was full
  std::uint64_t close_wait_seconds = 0;  // 0 = not in use
  int rewritten_clients = 0;             // connections whose client's port the kernel replaced
  bool is_forwarding4 = true;            // bridged
  std::vector<std::string> warnings;     // of the host's firewalls
};

// Findings about one service's network.
std::vector<Finding> diagnose(const View& view);
// Only whether its parts are there, as `verify` asks; `with_capture`: the capture rules, too.
std::vector<Finding> diagnose_parts(const View& view, bool with_capture);

// Packets that rules sent to `port`, in nft or iptables-save text.
std::uint64_t packets_to_port(const std::string& rules, std::uint16_t port);
// Packets that they dropped since connection tracking could make nothing of them.
std::uint64_t invalid_packets(const std::string& rules);
// The number of rules in such a text, without the jumps into our chains.
std::size_t count_rules(const std::string& rules);

// Parts of services that nobody uses any more.
struct Leftover {
  std::string service;
  std::string what;  // "namespace /run/netns/pillion-orders"
};
std::vector<Finding> diagnose_leftovers(const std::vector<Leftover>& leftovers);

}  // namespace pillion::netns
