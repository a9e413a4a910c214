// What was seen of the machine before planning: interfaces, addresses, routes, settings, texts of
// name files. A plain value, so that planning is pure and testable; filled by observe_host().
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "netns/address.h"

namespace pillion::netns {

struct Interface {
  int index = 0;
  std::string name;
  std::string alias;  // ifalias; ours is "pillion NAME"
  int mtu = 0;
  bool is_up = false;
  bool is_loopback = false;
  std::string accept_ra;  // net.ipv6.conf.NAME.accept_ra, "" without IPv6
};

struct InterfaceAddress {
  int interface_index = 0;
  Cidr cidr;
};

// A unicast route of any table but `local`.
struct Route {
  Cidr destination;  // prefix length 0 = default route
  int interface_index = 0;
  bool has_gateway = false;
};

struct HostState {
  std::vector<Interface> interfaces;
  std::vector<InterfaceAddress> addresses;
  std::vector<Route> routes;

  bool has_ipv6 = false;              // not disabled
  bool is_forwarding4 = false;        // net.ipv4.ip_forward
  bool is_forwarding6 = false;        // net.ipv6.conf.all.forwarding
  bool has_force_forwarding = false;  // net.ipv6.conf.*.force_forwarding (6.17)
  bool is_initial_namespace = false;  // the machine's own network namespace

  std::string hosts;
  std::string resolv_conf;
  std::string upstream_resolv_conf;  // a local stub resolver's own servers
  std::string nsswitch_conf;
  std::string chains;         // `nft list chains`
  std::string legacy_tables;  // /proc/net/ip_tables_names
};

}  // namespace pillion::netns
