// Schema of [network].
#include "config/network.h"
#include "config/table_builder.h"

namespace pillion::config {

template<>
const TableSchema& schema_of<Intercept>() {
  constexpr std::string_view with_proxy =
      "true when a sidecar uses \"proxy\" and the mode is bridged or sealed";
  static const TableSchema schema =
      TableBuilder<Intercept>("Interception",
                              "Which traffic the proxy gets without the app's knowledge. It covers "
                              "the app and its init tasks; helpers are exempt by their uid.")
          .field("inbound", &Intercept::inbound, "Connections to the app's ports go to 15006.",
                 {.computed_default = with_proxy})
          .field("outbound", &Intercept::outbound, "The app's connections to others go to 15001.",
                 {.computed_default = with_proxy})
          .field("dns", &Intercept::dns,
                 "The app's DNS queries go to 15053; always so when sealed.")
          .field("inbound_method", &Intercept::inbound_method,
                 "How inbound connections are captured; `auto` takes TPROXY where the kernel has "
                 "it.")
          .field(
              "backend", &Intercept::backend,
              "What writes the rules; `auto` takes nftables, and iptables where that is missing.")
          .field("when_proxy_down", &Intercept::when_proxy_down,
                 "`closed`: connections wait for the proxy or are refused, none goes past it. "
                 "`open`: while it waits to be restarted, they go past it.")
          .field("exclude_inbound_ports", &Intercept::exclude_inbound_ports,
                 "Ports of the app that are reached directly.")
          .field("exclude_outbound_ports", &Intercept::exclude_outbound_ports,
                 "Destination ports that the app reaches directly.")
          .field("include_outbound_ports", &Intercept::include_outbound_ports,
                 "Capture only these destination ports; empty is all.")
          .field("exclude_outbound_cidrs", &Intercept::exclude_outbound_cidrs,
                 "Networks that the app reaches directly.")
          .field("include_outbound_cidrs", &Intercept::include_outbound_cidrs,
                 "Capture only traffic to these networks; empty is all.")
          .field("exclude_users", &Intercept::exclude_users,
                 "Users whose traffic is left alone, beside the helpers'.")
          .field("exclude_groups", &Intercept::exclude_groups,
                 "Groups whose traffic is left alone.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Dns>() {
  static const TableSchema schema =
      TableBuilder<Dns>("DNS", "resolv.conf as the service's programs see it.")
          .field("nameservers", &Dns::nameservers, "Empty: the host's own upstream servers.")
          .field("search", &Dns::search, "Search domains.", {.form = Form::HostName})
          .field("options", &Dns::options, "As in resolv.conf(5), such as \"ndots:2\".")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Network>() {
  static const TableSchema schema =
      TableBuilder<Network>("Network", "One network namespace for all programs of the service.")
          .field("mode", &Network::mode,
                 "`bridged`: own namespace, veth and NAT. `sealed`: nothing but `lo`, the sidecar "
                 "is the only way out. `host`: no namespace of our own. `join`: an existing one.")
          .field("join", &Network::join,
                 "Mode join: a name below /run/netns, an absolute path or a pid.",
                 {.non_empty = true})
          .field("publish", &Network::publish,
                 "Ports of the host that lead to the app, through the proxy when inbound traffic "
                 "is intercepted.")
          .field("pool", &Network::pool, "Mode bridged: network that the service's /30 comes from.")
          .field("ipv6", &Network::ipv6, "Mode bridged: an IPv6 address too.")
          .field("mtu", &Network::mtu, "Of the veth pair.",
                 {.min = 576, .max = 65535, .computed_default = "the uplink's"})
          .field("hosts", &Network::hosts, "Further names for the service's hosts file.")
          .field("dns", &Network::dns, "DNS of the service's programs.")
          .field("intercept", &Network::intercept, "Transparent capture.")
          .finish([](Reader& reader, const Node& node, Network& network) {
            const Entry* join = node.find_entry("join");
            if (network.mode == NetworkMode::Join && join == nullptr) {
              reader.missing(node.position, "mode `join` needs `join`",
                             {"name the namespace: a name below /run/netns, a path or a pid"});
            }
            if (network.mode != NetworkMode::Join && join != nullptr) {
              reader.error(join->position, "`join` is only for mode = \"join\"");
            }
          })
          .done();
  return schema;
}

}  // namespace pillion::config
