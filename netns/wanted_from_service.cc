#include "netns/wanted_from_service.h"

#include <algorithm>

namespace pillion::netns {
namespace {

Mode mode_of(config::NetworkMode mode) {
  switch (mode) {
    case config::NetworkMode::Bridged: return Mode::Bridged;
    case config::NetworkMode::Sealed: return Mode::Sealed;
    case config::NetworkMode::Host: return Mode::Host;
    case config::NetworkMode::Join: return Mode::Join;
  }
  PILLION_ASSERT(false);
}

Address address_of(const config::IpAddress& ip) {
  return {ip.is_v6() ? Family::V6 : Family::V4, ip.bytes};
}

std::vector<Cidr> cidrs_of(const std::vector<config::Cidr>& cidrs) {
  std::vector<Cidr> converted;
  for (const config::Cidr& cidr : cidrs) {
    converted.push_back({address_of(cidr.address), static_cast<int>(cidr.prefix)});
  }
  return converted;
}

std::vector<PortRange> ranges_of(const std::vector<config::PortRange>& ranges) {
  std::vector<PortRange> converted;
  for (const config::PortRange& range : ranges) converted.push_back({range.first, range.last});
  return converted;
}

// The file says "1234" for a process; the document says "pid:1234".
std::string join_of(const std::optional<std::string>& join) {
  if (!join) return "";
  const bool is_number =
      !join->empty() && join->find_first_not_of("0123456789") == std::string::npos;
  return is_number ? "pid:" + *join : *join;
}

void add_unique(std::vector<std::uint32_t>& ids, std::uint32_t id) {
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

bool is_always_captured(const config::Child& child) {
  return child.role == config::Role::App || child.role == config::Role::Init || child.capture;
}

// The users whose traffic is captured; a child without `user` runs as the supervisor, and its
// traffic cannot be told from that of other such children.
std::vector<std::uint32_t> captured_uids(const config::Service& service) {
  std::vector<std::uint32_t> uids;
  for (const config::Child& child : service.children) {
    if (is_always_captured(child) && child.user && child.user->uid)
      add_unique(uids, *child.user->uid);
  }
  return uids;
}

void fill_exemptions(const config::Service& service, Intercept& intercept) {
  const auto captured = captured_uids(service);
  const auto is_captured = [&](std::uint32_t uid) {
    return std::find(captured.begin(), captured.end(), uid) != captured.end();
  };
  for (const config::Child& child : service.children) {
    if (is_always_captured(child) || !child.user || !child.user->uid) continue;
    if (child.use == config::Component::Proxy) {
      intercept.proxy_uid = *child.user->uid;
    } else if (!is_captured(*child.user->uid)) {
      add_unique(intercept.exempt_uids, *child.user->uid);
    }
  }
  for (const config::UserRef& user : service.network.intercept.exclude_users) {
    if (user.uid) add_unique(intercept.exempt_uids, *user.uid);
  }
  for (const config::GroupRef& group : service.network.intercept.exclude_groups) {
    if (group.gid) add_unique(intercept.exempt_gids, *group.gid);
  }
}

// A machine's own namespace has other programs in it, so only the service's users are captured.
// When one of these cannot be told apart (no `user`) the list stays empty, and capture is refused.
void fill_only_uids(const config::Service& service, Intercept& intercept) {
  const bool has_own_users =
      std::all_of(service.children.begin(), service.children.end(), [](const auto& child) {
        return !is_always_captured(child) || (child.user && child.user->uid);
      });
  if (has_own_users) intercept.only_uids = captured_uids(service);
}

void fill_choices(const config::Intercept& from, Intercept& intercept) {
  switch (from.inbound_method) {
    case config::InterceptMethod::Auto: intercept.inbound_method = InboundMethod::Auto; break;
    case config::InterceptMethod::Redirect:
      intercept.inbound_method = InboundMethod::Redirect;
      break;
    case config::InterceptMethod::Tproxy: intercept.inbound_method = InboundMethod::Tproxy; break;
  }
  switch (from.backend) {
    case config::InterceptBackend::Auto: intercept.backend = Backend::Auto; break;
    case config::InterceptBackend::Nftables: intercept.backend = Backend::Nftables; break;
    case config::InterceptBackend::Iptables: intercept.backend = Backend::Iptables; break;
  }
  intercept.when_proxy_down =
      from.when_proxy_down == config::ProxyDown::Open ? ProxyDown::Open : ProxyDown::Closed;
}

// Connections go where the proxy listens, not to where it would by default.
void fill_proxy_ports(const config::Service& service, Intercept& intercept) {
  for (const config::Child& child : service.children) {
    const auto* proxy = std::get_if<config::ProxyConfig>(&child.config);
    if (!proxy) continue;
    intercept.inbound_port = proxy->inbound.listen.port;
    intercept.outbound_port = proxy->outbound.listen.port;
  }
}

Intercept intercept_of(const config::Service& service) {
  const config::Intercept& from = service.network.intercept;
  Intercept intercept;
  intercept.inbound = from.inbound;
  intercept.outbound = from.outbound;
  // Sealed, our proxy is the only resolver that there is.
  const bool is_sealed = service.network.mode == config::NetworkMode::Sealed;
  intercept.dns =
      from.dns || (is_sealed && service.using_component(config::Component::Proxy) != nullptr);
  fill_choices(from, intercept);
  fill_proxy_ports(service, intercept);
  for (const config::ChildPort& port : service.app().ports) {
    if (port.protocol != config::AppProtocol::Udp) intercept.inbound_ports.push_back(port.port);
  }
  intercept.exclude_inbound_ports = from.exclude_inbound_ports;
  intercept.exclude_outbound_ports = ranges_of(from.exclude_outbound_ports);
  intercept.include_outbound_ports = ranges_of(from.include_outbound_ports);
  intercept.exclude_outbound_cidrs = cidrs_of(from.exclude_outbound_cidrs);
  intercept.include_outbound_cidrs = cidrs_of(from.include_outbound_cidrs);
  fill_exemptions(service, intercept);
  if (service.network.mode == config::NetworkMode::Host) fill_only_uids(service, intercept);
  return intercept;
}

void add_published(const config::Publish& publish, bool is_handed_over,
                   std::vector<Publish>& published) {
  const bool is_udp = publish.transport == config::Transport::Udp;
  for (unsigned offset = 0; offset < publish.host.count(); ++offset) {
    Publish item;
    if (publish.address) item.host_address = publish.address->to_string();
    item.host_port = static_cast<std::uint16_t>(publish.host.first + offset);
    item.port = static_cast<std::uint16_t>(publish.target.first + offset);
    item.transport = is_udp ? Transport::Udp : Transport::Tcp;
    item.is_translated = is_udp || !is_handed_over;
    published.push_back(std::move(item));
  }
}

// Names that DNS could answer; a wildcard or an address has no place in a hosts file.
bool is_plain_name(const std::string& name) {
  return name.find('*') == std::string::npos && !parse_address(name);
}

void add_upstream_aliases(const config::ProxyConfig& proxy, std::vector<HostAlias>& aliases) {
  for (std::size_t i = 0; i < proxy.upstreams.size(); ++i) {
    const config::Upstream& upstream = proxy.upstreams[i];
    HostAlias alias{virtual_address(i).text(), {}};
    const auto names = upstream.hosts.empty() ? std::vector{upstream.name} : upstream.hosts;
    std::copy_if(names.begin(), names.end(), std::back_inserter(alias.names), is_plain_name);
    if (!alias.names.empty()) aliases.push_back(std::move(alias));
  }
}

}  // namespace

Wanted wanted_from_service(const config::Service& service) {
  const config::Network& network = service.network;
  Wanted wanted;
  wanted.service = service.name();
  wanted.mode = mode_of(network.mode);
  wanted.join = join_of(network.join);
  wanted.pool = {address_of(network.pool.address), static_cast<int>(network.pool.prefix)};
  wanted.ipv6 = network.ipv6;
  wanted.mtu = static_cast<int>(network.mtu.value_or(0));
  wanted.intercept = intercept_of(service);
  const config::Child* proxy = service.using_component(config::Component::Proxy);
  // Only our own proxy is handed the host's sockets; a sidecar by `command` gets translated
  // traffic.
  const bool is_handed_over = network.intercept.inbound && proxy;
  for (const config::Publish& publish : network.publish) {
    add_published(publish, is_handed_over, wanted.publish);
  }
  for (const auto& [name, ip] : network.hosts) wanted.aliases.push_back({ip.to_string(), {name}});
  if (proxy && network.intercept.outbound) {
    add_upstream_aliases(std::get<config::ProxyConfig>(proxy->config), wanted.aliases);
  }
  for (const config::IpAddress& server : network.dns.nameservers) {
    wanted.dns.nameservers.push_back(server.to_string());
  }
  wanted.dns.search = network.dns.search;
  wanted.dns.options = network.dns.options;
  return wanted;
}

}  // namespace pillion::netns
