// Checks across tables: names, order, volumes, ports, users.
#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "config/file_layout.h"
#include "config/validate.h"

namespace pillion::config {
namespace {

std::string tick(std::string_view name) { return "`" + std::string(name) + "`"; }

std::string table_of(const Child& child) {
  const std::string role(role_key(child.role));
  return child.role == Role::App ? "[app]" : "[" + role + "." + child.name + "]";
}

class ServiceCheck {
 public:
  ServiceCheck(Reader& reader, const Node& root, const Service& service)
      : reader_(reader), root_(root), service_(service) {}

  void run() {
    check_names();
    check_roles();
    check_after();
    check_mounts();
    check_volumes();
    check_ports();
    check_publish();
    check_users();
    check_network();
    check_log_children();
  }

 private:
  Position at(const Child& child, std::string_view path) const {
    return position_of(child_node(root_, child), path);
  }
  // Where the child's table begins.
  Position at(const Child& child) const {
    if (child.role == Role::App) return position_of(root_, "app");
    return position_of(root_, std::string(role_key(child.role)) + "." + child.name);
  }
  Position in_network(std::string_view path) const {
    return position_of(root_, "network." + std::string(path));
  }
  std::vector<std::string_view> child_names() const {
    std::vector<std::string_view> names;
    for (const Child& child : service_.children) names.push_back(child.name);
    return names;
  }
  void unknown_name(const Position& position, std::string message, std::string_view name,
                    const std::vector<std::string_view>& known) const {
    const std::string_view near = nearest(name, known);
    std::vector<std::string> notes;
    if (!near.empty()) notes.push_back("did you mean " + tick(near) + "?");
    if (near.empty() && !known.empty()) notes.push_back("there are " + list_names(known, "and"));
    if (known.empty()) notes.push_back("none is defined");
    reader_.missing(position, std::move(message), std::move(notes));
  }

  void check_names();
  void check_roles();
  void check_after();
  void check_after_entry(std::size_t child, std::size_t entry);
  std::vector<std::size_t> path_between(std::size_t from, std::size_t to) const;
  void check_mounts();
  void check_volumes();
  void check_ports();
  void claim_port(const Child& child, Port port, bool is_udp, const std::string& path);
  void claim_listeners(const Child& child, const ProxyConfig& proxy);
  void check_publish();
  void check_users();
  void check_network();
  void check_log_children();

  Reader& reader_;
  const Node& root_;
  const Service& service_;
  std::vector<std::vector<std::size_t>> dependencies_;
  std::set<std::set<std::size_t>> known_cycles_;
  struct PortHolder {
    const Child* child;
    std::string name;
  };
  std::map<std::pair<Port, bool>, PortHolder> port_holders_;
};

void ServiceCheck::check_names() {
  std::map<std::string_view, const Child*> seen;
  for (const Child& child : service_.children) {
    const auto [other, is_new] = seen.emplace(child.name, &child);
    if (is_new) continue;
    reader_.error(at(child), "two children are named " + tick(child.name),
                  {"the other one is " + table_of(*other->second) +
                   "; names are unique across roles, and `app` is the app's"});
  }
}

Role usual_role(Component component) {
  switch (component) {
    case Component::Logs:
    case Component::Metrics: return Role::Adapter;
    case Component::Secrets:
    case Component::Egress: return Role::Ambassador;
    case Component::Proxy: break;
  }
  return Role::Sidecar;
}

void ServiceCheck::check_roles() {
  for (const Child& child : service_.children) {
    if (!child.use) continue;
    const std::string use(name_of(*child.use));
    const std::string usual(name_of(usual_role(*child.use)));
    const Position position = at(child, "use");
    if (*child.use == Component::Egress) {
      reader_.warning(position, "the component " + tick(use) + " is checked but cannot run yet");
    }
    if (child.role == Role::App || child.role == Role::Init) {
      reader_.error(position, table_of(child) + " cannot use the component " + tick(use),
                    {"it is a helper: declare it as [" + usual + ".NAME]"});
    } else if (child.role != usual_role(*child.use)) {
      reader_.warning(position, tick(use) + " is usually declared as [" + usual + ".NAME]",
                      {"the role decides when it starts and stops"});
    }
  }
}

// Breadth first, so that the cycle that is shown is a shortest one. Empty when there is none.
std::vector<std::size_t> ServiceCheck::path_between(std::size_t from, std::size_t to) const {
  std::vector<std::size_t> previous(service_.children.size(), service_.children.size());
  std::deque<std::size_t> queue{from};
  previous[from] = from;
  while (!queue.empty() && previous[to] == service_.children.size()) {
    const std::size_t at_child = queue.front();
    queue.pop_front();
    for (const std::size_t next : dependencies_[at_child]) {
      if (previous[next] != service_.children.size()) continue;
      previous[next] = at_child;
      queue.push_back(next);
    }
  }
  std::vector<std::size_t> path;
  if (previous[to] == service_.children.size()) return path;
  for (std::size_t step = to; step != from; step = previous[step]) path.push_back(step);
  path.push_back(from);
  std::reverse(path.begin(), path.end());
  return path;
}

void ServiceCheck::check_after() {
  dependencies_ = start_dependencies(service_);
  for (std::size_t i = 0; i < service_.children.size(); ++i) {
    for (std::size_t k = 0; k < service_.children[i].after.size(); ++k) check_after_entry(i, k);
  }
}

void ServiceCheck::check_after_entry(std::size_t index, std::size_t entry) {
  const Child& child = service_.children[index];
  const std::string& name = child.after[entry];
  const Position position = at(child, "after." + std::to_string(entry));
  if (name == child.name) {
    reader_.error(position, tick(name) + " waits for itself");
    return;
  }
  const Child* other = service_.find(name);
  if (other == nullptr) {
    unknown_name(position, "there is no child " + tick(name), name, child_names());
    return;
  }
  const auto other_index = static_cast<std::size_t>(other - service_.children.data());
  const auto back = path_between(other_index, index);
  if (back.empty() || !known_cycles_.emplace(back.begin(), back.end()).second) return;
  std::string text = tick(child.name);
  for (std::size_t i = 0; i < back.size(); ++i) {
    text += (i == 0 ? " waits for " : ", which waits for ") + tick(service_.children[back[i]].name);
  }
  std::vector<std::string> notes{text};
  if (other->role > child.role) {
    notes.push_back("children start in the order init, adapters, ambassadors, sidecars, app");
  }
  reader_.error(position, "a cycle of children that wait for each other", std::move(notes));
}

void ServiceCheck::check_mounts() {
  std::vector<std::string_view> volumes;
  for (const Volume& volume : service_.volumes) volumes.push_back(volume.name);
  for (const Child& child : service_.children) {
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i < child.mounts.size(); ++i) {
      const std::string& name = child.mounts[i].volume;
      const Position position = at(child, "mounts." + std::to_string(i));
      if (service_.find_volume(name) == nullptr) {
        unknown_name(position, "there is no volume " + tick(name), name, volumes);
      } else if (!seen.insert(name).second) {
        reader_.error(position, tick(name) + " is mounted twice");
      }
    }
  }
}

void ServiceCheck::check_volumes() {
  std::map<std::string_view, std::string_view> owner;
  for (const Volume& volume : service_.volumes) {
    if (volume.path.empty()) continue;
    const Position position = position_of(root_, "volume." + volume.name + ".path");
    if (volume.path == "/") {
      reader_.error(position, "a volume cannot be mounted on `/`");
      continue;
    }
    const auto [other, is_new] = owner.emplace(volume.path, volume.name);
    if (is_new) continue;
    reader_.error(position, "two volumes are mounted on " + volume.path,
                  {"the other one is " + tick(other->second)});
  }
}

// All children share the network namespace, so a port can belong to one of them. Two listeners of
// one component were compared when its table was read.
void ServiceCheck::claim_port(const Child& child, Port port, bool is_udp, const std::string& path) {
  if (port == 0) return;
  const std::string listener = path.starts_with("config.") ? tick(path) + " of " : "";
  const auto [holder, is_new] = port_holders_.emplace(
      std::pair(port, is_udp), PortHolder{&child, listener + table_of(child)});
  const bool is_compared = holder->second.child == &child && !listener.empty();
  if (is_new || is_compared) return;
  reader_.error(at(child, path), "port " + std::to_string(port) + " is used twice",
                {holder->second.name + " has it already"});
}

void ServiceCheck::claim_listeners(const Child& child, const ProxyConfig& proxy) {
  claim_port(child, proxy.inbound.listen.port, false, "config.inbound.listen");
  claim_port(child, proxy.outbound.listen.port, false, "config.outbound.listen");
  claim_port(child, proxy.health.listen.port, false, "config.health.listen");
  claim_port(child, proxy.prometheus.listen.port, false, "config.prometheus.listen");
  claim_port(child, proxy.admin.listen.port, false, "config.admin.listen");
  for (std::size_t i = 0; i < proxy.explicit_listeners.size(); ++i) {
    claim_port(child, proxy.explicit_listeners[i].listen.port,
               proxy.explicit_listeners[i].transport == Transport::Udp,
               "config.explicit." + std::to_string(i) + ".listen");
  }
}

void ServiceCheck::check_ports() {
  for (const Child& child : service_.children) {
    if (const auto* proxy = std::get_if<ProxyConfig>(&child.config)) {
      claim_listeners(child, *proxy);
    } else if (const auto* egress = std::get_if<EgressConfig>(&child.config)) {
      claim_port(child, egress->listen.port, false, "config.listen");
    } else if (const auto* secrets = std::get_if<SecretsConfig>(&child.config)) {
      const bool has_proxy = secrets->vault && secrets->proxy.enabled;
      if (has_proxy) claim_port(child, secrets->proxy.listen.port, false, "config.proxy.listen");
    }
  }
  for (const Child& child : service_.children) {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < child.ports.size(); ++i) {
      const ChildPort& port = child.ports[i];
      const std::string path = "ports." + std::to_string(i);
      claim_port(child, port.port, port.protocol == AppProtocol::Udp, path + ".port");
      if (!port.name.empty() && !names.insert(port.name).second) {
        reader_.error(at(child, path + ".name"), "two ports are named " + tick(port.name));
      }
    }
  }
}

void ServiceCheck::check_publish() {
  const auto& publish = service_.network.publish;
  for (std::size_t i = 0; i < publish.size(); ++i) {
    const Position position = in_network("publish." + std::to_string(i));
    for (std::size_t j = 0; j < i; ++j) {
      const bool same_address =
          !publish[i].address || !publish[j].address || publish[i].address == publish[j].address;
      const bool overlaps = publish[i].host.first <= publish[j].host.last &&
                            publish[j].host.first <= publish[i].host.last;
      if (!same_address || !overlaps || publish[i].transport != publish[j].transport) continue;
      reader_.error(position,
                    "port " +
                        std::to_string(std::max(publish[i].host.first, publish[j].host.first)) +
                        " of the host is used twice",
                    {"\"" + publish[j].to_string() + "\" has it already"});
      break;
    }
    const auto& ports = service_.app().ports;
    const bool is_declared =
        ports.empty() || std::any_of(ports.begin(), ports.end(), [&](const ChildPort& port) {
          return publish[i].target.contains(port.port);
        });
    if (!is_declared) {
      reader_.warning(position, "the app does not declare the published port",
                      {"add it to `ports` of [app], so that its protocol is known"});
    }
  }
}

// Helpers are exempt from capture by their uid, so the captured programs need another one. In a
// sealed namespace nobody is exempt: our helpers are outside it, all others are captured.
void ServiceCheck::check_users() {
  if (service_.network.mode == NetworkMode::Sealed) return;
  const bool has_capture = service_.network.intercept.outbound;
  for (const Child& captured : service_.children) {
    if (captured.role != Role::App && captured.role != Role::Init) continue;
    for (const Child& helper : service_.children) {
      if (helper.role == Role::App || helper.role == Role::Init || helper.capture) continue;
      const bool are_both_unset = !captured.user && !helper.user;
      const bool is_same = captured.user && helper.user && captured.user->uid && helper.user->uid &&
                           captured.user->uid == helper.user->uid;
      if (!is_same && !(are_both_unset && has_capture)) continue;
      const std::string who =
          are_both_unset ? "neither has a `user`" : "uid " + std::to_string(*captured.user->uid);
      reader_.error(at(captured, "user"),
                    table_of(captured) + " runs as the same user as " + table_of(helper),
                    {who + "; helpers are told from the app by their uid, or its traffic would "
                           "escape the proxy"});
      break;
    }
  }
}

void ServiceCheck::check_network() {
  const Network& network = service_.network;
  // Any sidecar may be a proxy: users run Envoy too.
  const bool has_sidecar = !service_.with_role(Role::Sidecar).empty() ||
                           service_.using_component(Component::Proxy) != nullptr;
  for (const auto& [key, is_on] : {std::pair("inbound", network.intercept.inbound),
                                   std::pair("outbound", network.intercept.outbound)}) {
    if (!is_on || has_sidecar) continue;
    reader_.missing(in_network("intercept." + std::string(key)),
                    tick("intercept." + std::string(key)) + " needs a proxy",
                    {"add a sidecar: [sidecar.proxy] with use = \"proxy\""});
  }
  if (network.mode == NetworkMode::Host && !network.publish.empty()) {
    reader_.error(in_network("publish"), "there is nothing to publish in mode \"host\"",
                  {"the app's ports are the host's"});
  }
}

void ServiceCheck::check_log_children() {
  for (const Child& child : service_.children) {
    const auto* logs = std::get_if<LogsConfig>(&child.config);
    if (logs == nullptr) continue;
    for (std::size_t i = 0; i < logs->inputs.size(); ++i) {
      const auto& wanted = logs->inputs[i].child;
      if (!wanted || service_.find(*wanted) != nullptr) continue;
      unknown_name(at(child, "config.input." + std::to_string(i) + ".child"),
                   "there is no child " + tick(*wanted), *wanted, child_names());
    }
  }
}

}  // namespace

const Node& child_node(const Node& root, const Child& child) {
  const Node* table = root.find(role_key(child.role));
  if (table != nullptr && child.role != Role::App) table = table->find(child.name);
  return table != nullptr ? *table : root;
}

void check_service(Reader& reader, const Node& root, const Service& service) {
  ServiceCheck(reader, root, service).run();
}

}  // namespace pillion::config
