// Defaults that depend on other tables: users of components, what a role implies, ports of probes,
// interception, and what component tables take from the service.
#include <algorithm>

#include "config/render.h"
#include "config/validate.h"

namespace pillion::config {
namespace {

std::string tick(std::string_view name) { return "`" + std::string(name) + "`"; }

// Resolves `port` of the action at `path` below the child's table.
void resolve_port(Reader& reader, const Node& node, const Child& child, const std::string& path,
                  std::optional<PortRef>& port) {
  if (port && port->number != 0) return;
  if (port && !port->name.empty()) {
    std::vector<std::string_view> names;
    for (const ChildPort& candidate : child.ports) {
      if (candidate.name == port->name) port->number = candidate.port;
      if (!candidate.name.empty()) names.push_back(candidate.name);
    }
    if (port->number != 0) return;
    const std::string_view near = nearest(port->name, names);
    reader.missing(
        position_of(node, path + ".port"), "the child has no port named " + tick(port->name),
        {near.empty() ? "its `ports` name " + (names.empty() ? "none" : list_names(names, "and"))
                      : "did you mean " + tick(near) + "?"});
    return;
  }
  const Node* given = node.find(path.substr(0, path.find('.')));
  if (given == nullptr || position_of(node, path + ".port") != position_of(node, path)) return;
  if (child.ports.size() == 1) {
    port = PortRef{child.ports.front().port, ""};
    return;
  }
  reader.missing(
      position_of(node, path), tick(path.substr(0, path.find('.'))) + " has no `port`",
      {child.ports.empty() ? "give one, or declare the child's `ports`"
                           : "the child has several `ports`; say which by number or name"});
}

void resolve_probe(Reader& reader, const Node& node, const Child& child, const std::string& path,
                   std::optional<Probe>& probe) {
  if (!probe) return;
  if (probe->http) resolve_port(reader, node, child, path + ".http", probe->http->port);
  if (probe->tcp) resolve_port(reader, node, child, path + ".tcp", probe->tcp->port);
  if (probe->grpc) resolve_port(reader, node, child, path + ".grpc", probe->grpc->port);
}

void resolve_hook(Reader& reader, const Node& node, const Child& child, const std::string& path,
                  std::optional<Hook>& hook) {
  if (hook && hook->http) resolve_port(reader, node, child, path + ".http", hook->http->port);
}

// A checkout runs before sysusers made the components' users, so their ids are fixed.
UserRef component_user(Reader& reader, Component component) {
  static constexpr std::pair<Component, std::uint32_t> ids[] = {{Component::Proxy, 1337},
                                                                {Component::Logs, 1338},
                                                                {Component::Secrets, 1339},
                                                                {Component::Egress, 1340},
                                                                {Component::Metrics, 1341}};
  UserRef user;
  user.name = "pillion-" + std::string(name_of(component));
  if (reader.options().lookup_user) {
    if (const auto found = reader.options().lookup_user(user.name)) {
      user.uid = found->uid;
      user.gid = found->gid;
      return user;
    }
  }
  for (const auto& [candidate, id] : ids) {
    if (candidate == component) user.uid = user.gid = id;
  }
  return user;
}

// `use` without a `config` table still has the component's defaults; what is required in it is
// reported by reading an empty table.
void complete_child(Reader& reader, const Node& node, const Service& service, Child& child) {
  const bool is_captured = child.role == Role::App || child.role == Role::Init;
  if (node.find("capture") == nullptr) child.capture = is_captured;
  if (node.find("restart") == nullptr && child.role == Role::Init) {
    child.restart = RestartPolicy::OnFailure;
  }
  if (child.use && node.find("user") == nullptr) child.user = component_user(reader, *child.use);
  for (Mount& mount : child.mounts) {
    const Volume* volume = service.find_volume(mount.volume);
    if (mount.is_explicit || volume == nullptr) continue;
    mount.is_read_only = child.role == Role::App && volume->tmpfs.has_value();
  }
  resolve_probe(reader, node, child, "startup_probe", child.startup_probe);
  resolve_probe(reader, node, child, "readiness_probe", child.readiness_probe);
  resolve_probe(reader, node, child, "liveness_probe", child.liveness_probe);
  resolve_hook(reader, node, child, "post_start", child.post_start);
  resolve_hook(reader, node, child, "pre_stop", child.pre_stop);
  if (child.scrape) resolve_port(reader, node, child, "scrape", child.scrape->port);
}

ProxyProtocol proxy_protocol(AppProtocol protocol) {
  switch (protocol) {
    case AppProtocol::Http: return ProxyProtocol::Http;
    case AppProtocol::Http2: return ProxyProtocol::Http2;
    case AppProtocol::Grpc: return ProxyProtocol::Grpc;
    case AppProtocol::Tcp: return ProxyProtocol::Tcp;
    case AppProtocol::Tls: return ProxyProtocol::Tls;
    case AppProtocol::Auto:
    case AppProtocol::Udp: break;
  }
  return ProxyProtocol::Auto;
}

void complete_proxy(const Service& service, ProxyConfig& proxy) {
  proxy.service = service.name();
  if (proxy.inbound.ports.empty()) {
    for (const ChildPort& port : service.app().ports) {
      if (port.protocol == AppProtocol::Udp) continue;
      proxy.inbound.ports.push_back({port.name, port.port, proxy_protocol(port.protocol), {}});
    }
  }
  if (!proxy.inbound.published.empty() || !service.network.intercept.inbound) return;
  for (const Publish& publish : service.network.publish) {
    if (publish.transport == Transport::Udp) continue;
    for (unsigned i = 0; i < publish.host.count(); ++i) {
      const std::string host = std::to_string(publish.host.first + i);
      const std::string listener = "publish-" + host;
      const auto& known = proxy.inbound.published;
      const bool is_known = std::any_of(known.begin(), known.end(), [&](const auto& other) {
        return other.listener == listener;
      });
      if (is_known) continue;
      proxy.inbound.published.push_back(
          {listener, static_cast<Port>(publish.target.first + i), std::nullopt, Transport::Tcp});
    }
  }
}

struct ComponentCompleter {
  const Service& service;
  void operator()(std::monostate&) const {}
  void operator()(ProxyConfig& proxy) const { complete_proxy(service, proxy); }
  void operator()(SecretsConfig& secrets) const {
    secrets.service = service.name();
    for (SecretFile& file : secrets.files) {
      if (!file.owner) file.owner = service.app().user;
    }
  }
  template<class T>
  void operator()(T& config) const {
    config.service = service.name();
  }
};

}  // namespace

void complete_service(Reader& reader, const Node& root, Service& service) {
  for (Child& child : service.children) {
    complete_child(reader, child_node(root, child), service, child);
  }
  Network& network = service.network;
  const bool is_private =
      network.mode == NetworkMode::Bridged || network.mode == NetworkMode::Sealed;
  const bool has_proxy = service.using_component(Component::Proxy) != nullptr;
  const Node* section = root.find("network");
  const Node* intercept = section != nullptr ? section->find("intercept") : nullptr;
  const auto is_given = [&](std::string_view key) {
    return intercept != nullptr && intercept->find(key) != nullptr;
  };
  if (!is_given("inbound")) network.intercept.inbound = is_private && has_proxy;
  if (!is_given("outbound")) network.intercept.outbound = is_private && has_proxy;
}

void complete_components(Service& service) {
  for (Child& child : service.children) {
    std::visit(ComponentCompleter{service}, child.config);
  }
}

}  // namespace pillion::config
