// [network] and [network.intercept].
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/names.h"
#include "config/units.h"

namespace pillion::config {

enum class NetworkMode { Bridged, Sealed, Host, Join };
PILLION_NAMES(NetworkMode, {NetworkMode::Bridged, "bridged"}, {NetworkMode::Sealed, "sealed"},
              {NetworkMode::Host, "host"}, {NetworkMode::Join, "join"});

enum class InterceptMethod { Auto, Redirect, Tproxy };
PILLION_NAMES(InterceptMethod, {InterceptMethod::Auto, "auto"},
              {InterceptMethod::Redirect, "redirect"}, {InterceptMethod::Tproxy, "tproxy"});

enum class InterceptBackend { Auto, Nftables, Iptables };
PILLION_NAMES(InterceptBackend, {InterceptBackend::Auto, "auto"},
              {InterceptBackend::Nftables, "nftables"}, {InterceptBackend::Iptables, "iptables"});

enum class ProxyDown { Closed, Open };
PILLION_NAMES(ProxyDown, {ProxyDown::Closed, "closed"}, {ProxyDown::Open, "open"});

struct Intercept {
  // Defaults after loading: true when a sidecar uses "proxy" and the mode is bridged or sealed.
  bool inbound = false;
  bool outbound = false;
  bool dns = false;  // the app's DNS to the proxy's 15053
  InterceptMethod inbound_method = InterceptMethod::Auto;
  InterceptBackend backend = InterceptBackend::Auto;
  ProxyDown when_proxy_down = ProxyDown::Closed;
  std::vector<Port> exclude_inbound_ports;
  std::vector<PortRange> exclude_outbound_ports;
  std::vector<PortRange> include_outbound_ports;  // empty = all
  std::vector<Cidr> exclude_outbound_cidrs;
  std::vector<Cidr> include_outbound_cidrs;  // empty = all
  std::vector<UserRef> exclude_users;        // beside the helpers
  std::vector<GroupRef> exclude_groups;
  bool operator==(const Intercept&) const = default;
};

struct Dns {
  std::vector<IpAddress> nameservers;  // empty = the host's upstream servers
  std::vector<std::string> search;
  std::vector<std::string> options;
  bool operator==(const Dns&) const = default;
};

struct Network {
  NetworkMode mode = NetworkMode::Bridged;
  std::optional<std::string> join;  // mode join: a name under /run/netns, an absolute path or a pid
  std::vector<Publish> publish;
  Cidr pool;         // bridged: 10.213.0.0/16, one /30 per service
  bool ipv6 = true;  // bridged: also an address from fd00::/8
  std::optional<unsigned> mtu;
  std::map<std::string, IpAddress> hosts;  // further names in the namespace's hosts file
  Dns dns;
  Intercept intercept;

  Network();
  bool operator==(const Network&) const = default;
};

}  // namespace pillion::config
