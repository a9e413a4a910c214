// From what a service wants and what the machine is like to the steps that build its network. Pure:
// the same input gives the same steps. The steps say what, netns_apply knows how.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "netns/facts.h"
#include "netns/host_state.h"
#include "netns/wanted.h"

namespace pillion::netns {

// Which network namespace a step works in.
enum class Side : std::uint8_t { Host, Inside };

// Creates the namespace and pins it under /run/netns.
struct PinNamespace {
  std::string path;
};
// Creates a pair: `host_name` here, `inner_name` in the pinned namespace.
struct CreateVeth {
  std::string host_name;
  std::string inner_name;
  int mtu = 0;
  std::string alias;
};
struct AddAddress {
  Side side = Side::Inside;
  std::string interface;
  Cidr cidr;
};
struct SetUp {
  Side side = Side::Inside;
  std::string interface;
};
struct AddRoute {
  Side side = Side::Inside;
  Cidr destination;
  std::optional<Address> gateway;
  std::string interface;
  bool is_local = false;  // type local instead of unicast
  std::uint32_t table = 254;
  std::optional<Address> source = std::nullopt;  // preferred source address
};
// Packets with the mark are routed by the table.
struct AddMarkRule {
  Side side = Side::Inside;
  Family family = Family::V4;
  std::uint32_t mark = 0;
  std::uint32_t table = 0;
};
struct WriteSysctl {
  Side side = Side::Inside;
  std::string name;  // "net.ipv4.ip_forward"; "/" instead of "." where an interface has dots
  std::string value;
  bool is_required = true;   // false: a missing or read-only setting is not an error
  bool is_reported = false;  // it outlives the service: goes to Facts::changed_sysctls
  bool may_vanish = false;   // of somebody else's interface: once that is gone, nothing is to do
};
// Loads the text as one nftables transaction.
struct LoadRules {
  Side side = Side::Inside;
  std::string table;
  std::string rules;     // replaces the table, or makes it
  std::string chain;     // where the table is there, but this chain is not,
  std::string addition;  // this text is enough
};
// The capture rules as chains of iptables, for IPv4 and IPv6.
struct LoadIptables {
  Side side = Side::Inside;
  Wanted wanted;
};
// Forgets tracked connections of these addresses and to these UDP ports of the host.
struct FlushConntrack {
  Side side = Side::Host;
  std::vector<Address> addresses;
  std::vector<std::uint16_t> udp_ports;
};

using Step = std::variant<PinNamespace, CreateVeth, AddAddress, SetUp, AddRoute, AddMarkRule,
                          WriteSysctl, LoadRules, LoadIptables, FlushConntrack>;

// "create veth pil1a2b3c4dh <-> eth0 (mtu 1500)": for --dry-run and for errors ("cannot …").
std::string describe(const Step& step);

struct Plan {
  std::vector<Step> steps;
  Facts facts;
};

// `create`. Errors: the pool is used up or collides, the host interface belongs to another service,
// host mode in the machine's own namespace without an own user of the app, ports that a sealed
// service cannot publish.
Result<Plan> plan_create(const Wanted& wanted, const HostState& host);

// `capture`, inside the service's namespace, for a backend and a method that are not Auto. Errors
// as far as they need no look at the machine.
Result<std::vector<Step>> plan_capture(const Wanted& wanted, bool is_initial_namespace);

// What of other programs' rules can keep forwarded packets from the service, one sentence each.
std::vector<std::string> forward_warnings(const HostState& host);

}  // namespace pillion::netns
