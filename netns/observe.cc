// Looking at the machine before planning; every look is read-only.
#include <algorithm>

#include "netns/apply.h"
#include "netns/namespace.h"
#include "netns/nft_chains.h"
#include "netns/rtnetlink.h"
#include "netns/sysctl.h"

namespace pillion::netns {
namespace {

// Files that need not exist.
std::string text_of(const std::string& path) {
  auto text = read_file(path);
  return text ? *text : "";
}

void observe_settings(HostState& host) {
  const auto is_one = [](const std::string& name) { return read_sysctl(name) == "1"; };
  const std::string disabled = read_sysctl("net/ipv6/conf/all/disable_ipv6");
  host.has_ipv6 = disabled == "0";
  host.is_forwarding4 = is_one("net/ipv4/ip_forward");
  host.is_forwarding6 = is_one("net/ipv6/conf/all/forwarding");
  host.has_force_forwarding = !read_sysctl("net/ipv6/conf/all/force_forwarding").empty();
  host.is_initial_namespace = is_initial_namespace();
  for (Interface& item : host.interfaces) {
    item.accept_ra = read_sysctl("net/ipv6/conf/" + item.name + "/accept_ra");
  }
}

void observe_texts(HostState& host) {
  host.hosts = text_of("/etc/hosts");
  host.resolv_conf = text_of("/etc/resolv.conf");
  host.upstream_resolv_conf = text_of("/run/systemd/resolve/resolv.conf");
  host.nsswitch_conf = text_of("/etc/nsswitch.conf");
  host.legacy_tables = text_of("/proc/net/ip_tables_names");
  // Only warnings depend on it: not being able to read it is no reason to fail.
  if (auto chains = nft_chains()) host.chains = nft_chains_text(*chains);
}

}  // namespace

Result<HostState> observe_host() {
  auto netlink = RouteNetlink::open();
  if (!netlink) return fail(netlink.error());
  HostState host;
  auto interfaces = netlink->interfaces();
  if (!interfaces) return fail(interfaces.error());
  host.interfaces = std::move(*interfaces);
  auto addresses = netlink->addresses();
  if (!addresses) return fail(addresses.error());
  host.addresses = std::move(*addresses);
  auto routes = netlink->routes();
  if (!routes) return fail(routes.error());
  host.routes = std::move(*routes);
  observe_settings(host);
  observe_texts(host);
  return host;
}

}  // namespace pillion::netns
