// What `pillion-netns create` did, for the supervisor: addresses, names and the texts of the files
// that children of the service see. JSON on the program's stdout; parsed here with the same code.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "netns/wanted.h"
#include "runtime/result.h"

namespace pillion::netns {

// A setting of the host that `create` had to change and that outlives the service.
struct ChangedSysctl {
  std::string name;  // "net.ipv4.ip_forward"
  std::string old_value;
  std::string new_value;

  bool operator==(const ChangedSysctl&) const = default;
};

struct Facts {
  std::string service;
  Mode mode = Mode::Bridged;
  std::string netns_path;  // "" = the caller's own namespace (mode = host)
  std::string interface;   // inside: "eth0"; "" when the namespace is not ours
  std::string address4;    // inside, "10.213.4.2"; "" = none
  std::string gateway4;    // the host's end
  std::string address6;    // "" = the host has no IPv6
  std::string gateway6;
  std::string host_interface;  // "pil1a2b3c4dh"
  int mtu = 0;
  std::string host_table;     // nftables table on the host, family inet
  std::string capture_table;  // nftables table inside, family inet
  InboundMethod inbound_method = InboundMethod::Redirect;
  // Texts for /etc/hosts. The app and whatever else is captured gets `hosts`; exempt helpers get
  // `helper_hosts`, without the upstreams' virtual addresses, which mean nothing without capture:
  // the proxy, above all, must find the real ones. "" = the namespace's own file serves as it is.
  std::string hosts;
  std::string helper_hosts;
  std::string resolv_conf;    // text for /etc/resolv.conf
  std::string nsswitch_conf;  // text for /etc/nsswitch.conf
  std::vector<ChangedSysctl> changed_sysctls;
  std::vector<std::string> warnings;

  bool operator==(const Facts&) const = default;
};

// What `pillion-netns capture` chose and why; its JSON on stdout.
struct CaptureFacts {
  Backend backend = Backend::Nftables;
  std::string backend_reason;  // one sentence
  InboundMethod inbound_method = InboundMethod::Redirect;
  std::string inbound_reason;
  ProxyDown when_proxy_down = ProxyDown::Closed;

  bool operator==(const CaptureFacts&) const = default;
};

Result<CaptureFacts> parse_capture_facts(std::string_view json_text);
std::string capture_facts_to_json(const CaptureFacts& facts);

Result<Facts> parse_facts(std::string_view json_text);
std::string facts_to_json(const Facts& facts);

}  // namespace pillion::netns
