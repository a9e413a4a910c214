// What a service wants of the network, as one plain value: the input of every decision in this
// folder and, as JSON, the input of the program `pillion-netns` (docs/networking.md lists every
// key). Made from the service's configuration by a pure function; owned by value; knows nothing
// of the machine it will be applied to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "netns/address.h"
#include "runtime/result.h"

namespace pillion::netns {

// Ports of Pillion's own helpers; the same numbers as Envoy's and Istio's.
inline constexpr std::uint16_t kOutboundPort = 15001;
inline constexpr std::uint16_t kInboundPort = 15006;
inline constexpr std::uint16_t kHealthPort = 15021;
inline constexpr std::uint16_t kDnsPort = 15053;
inline constexpr std::uint16_t kPrometheusPort = 15090;
inline constexpr std::uint16_t kAdminPort = 9901;
inline constexpr std::uint32_t kProxyUid = 1337;
inline constexpr std::uint32_t kTproxyMark = 1337;
inline constexpr std::uint32_t kTproxyRouteTable = 133;

enum class Mode : std::uint8_t { Bridged, Sealed, Host, Join };
enum class Transport : std::uint8_t { Tcp, Udp };

// How packets for a declared inbound port reach the proxy's inbound listener.
enum class InboundMethod : std::uint8_t {
  Auto,      // Tproxy where the kernel has it and the listener is transparent, else Redirect
  Redirect,  // address translation: works with any listener on 0.0.0.0:15006 and [::]:15006
  Tproxy,    // no translation: the listener must have IP_TRANSPARENT (IPV6_TRANSPARENT) set
};

// What writes the capture rules.
enum class Backend : std::uint8_t {
  Auto,  // Nftables, or Iptables where the kernel or container has no nftables
  Nftables,
  Iptables,
};

// What becomes of captured connections while nobody listens on the proxy's ports. The kernel can
// tell only for inbound TPROXY; for the rest see docs/networking.md.
enum class ProxyDown : std::uint8_t { Closed, Open };

// Ports first..last, both included.
struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 0;

  bool operator==(const PortRange&) const = default;
};

// Which connections are captured, and by which exemptions. Ports and CIDRs are destinations.
struct Intercept {
  bool inbound = true;
  bool outbound = true;
  InboundMethod inbound_method = InboundMethod::Auto;
  Backend backend = Backend::Auto;
  ProxyDown when_proxy_down = ProxyDown::Closed;
  std::uint16_t inbound_port = kInboundPort;  // where the proxy listens
  std::uint16_t outbound_port = kOutboundPort;
  std::uint16_t dns_port = kDnsPort;
  std::vector<std::uint16_t> inbound_ports;  // declared TCP ports of the app; nothing else
  bool all_inbound_ports = false;            // every port but excluded ones and Pillion's own
  std::vector<std::uint16_t> exclude_inbound_ports;
  std::vector<PortRange> exclude_outbound_ports;  // JSON: 80 or "8000-8010"
  std::vector<PortRange> include_outbound_ports;  // empty = all
  std::vector<Cidr> exclude_outbound_cidrs;
  std::vector<Cidr> include_outbound_cidrs;  // empty = all
  std::uint32_t proxy_uid = kProxyUid;
  std::vector<std::uint32_t> exempt_uids;  // the other helpers
  std::vector<std::uint32_t> exempt_gids;
  // When not empty only these uids are captured outbound. Required where the namespace is the
  // machine's own (mode = host in the initial namespace).
  std::vector<std::uint32_t> only_uids;
  std::vector<std::uint32_t> only_gids;  // the same for groups
  // Traffic that leaves or comes in through these is left alone.
  std::vector<std::string> exclude_interfaces;
  bool dns = false;  // the app's DNS queries to port 53 go to 15053

  bool operator==(const Intercept&) const = default;
};

// A port of the host that leads to a port inside. `is_translated` = the kernel does it by DNAT
// (UDP, or TCP of a service without inbound capture); otherwise the supervisor opens a host socket
// and hands it to the proxy, and nothing is done here.
struct Publish {
  std::string host_address;  // "" = every address of the host; else one IPv4 or IPv6 address
  std::uint16_t host_port = 0;
  std::uint16_t port = 0;
  Transport transport = Transport::Tcp;
  bool is_translated = false;

  bool operator==(const Publish&) const = default;
};

// A name in the namespace's hosts file. Upstreams get virtual addresses (see virtual_address).
struct HostAlias {
  std::string address;
  std::vector<std::string> names;

  bool operator==(const HostAlias&) const = default;
};

// Overrides of what would be taken from the host's resolv.conf; empty = the host's.
struct Dns {
  std::vector<std::string> nameservers;
  std::vector<std::string> search;
  std::vector<std::string> options;

  bool operator==(const Dns&) const = default;
};

struct Wanted {
  std::string service;  // [a-z0-9]([a-z0-9-]*[a-z0-9])?, at most 63
  Mode mode = Mode::Bridged;
  // mode = join: a name under /run/netns, an absolute path, or "pid:N".
  std::string join;
  Cidr pool;         // IPv4, each service takes one /30
  Cidr pool6;        // IPv6 unique local range, /48 or shorter, each service takes one /64
  bool ipv6 = true;  // false: no IPv6 address even where the host has IPv6
  int mtu = 0;       // 0 = that of the uplink
  // mode = sealed: the caller's own namespace, made for the service, is used and not pinned. For a
  // service without root, which may not write /run/netns.
  bool is_in_place = false;
  Intercept intercept;
  std::vector<Publish> publish;
  std::vector<HostAlias> aliases;
  Dns dns;

  Wanted();  // the defaults: pool 10.213.0.0/16, pool6 fd70:696c:6c69::/48
  bool operator==(const Wanted&) const = default;
};

// The virtual address of the service's N-th upstream, counted from 0: 240.240.0.1, …. The app's
// hosts file maps the upstream's names to it, so the call is captured, and the proxy knows the
// upstream by it. At most 65,000 upstreams.
Address virtual_address(std::size_t upstream_index);
// All of them: 240.240.0.0/16.
Cidr virtual_addresses();

// Unknown keys, wrong types and values out of range are errors that name the key.
Result<Wanted> parse_wanted(std::string_view json_text);
std::string wanted_to_json(const Wanted& wanted);

// Fixed names of everything that belongs to one service, so that remains are found by exact name.
struct Names {
  std::string netns;            // "pillion-NAME"
  std::string netns_path;       // "/run/netns/pillion-NAME"
  std::string host_interface;   // "pil" + 8 hex digits of a hash of the name + "h"
  std::string host_table;       // "pillion_NAME", dashes as underscores; family inet
  std::string interface_alias;  // "pillion NAME": tells whose interface it is
};
inline constexpr std::string_view kInnerInterface = "eth0";
inline constexpr std::string_view kCaptureTable = "pillion";  // family inet, inside

Names names_of(std::string_view service);

// As the kernel allows them and without what has a meaning in rules: at most 15 characters,
// letters, digits and "_.-:@+".
bool is_interface_name(std::string_view name);

// The nftables table (family inet) with the capture rules of `wanted`: kCaptureTable in a namespace
// of the service's own, the service's host table where the namespace may be shared.
std::string capture_table_of(const Wanted& wanted);

std::string_view mode_text(Mode mode);
std::string_view inbound_method_text(InboundMethod method);
std::string_view backend_text(Backend backend);
std::string_view proxy_down_text(ProxyDown policy);

}  // namespace pillion::netns
