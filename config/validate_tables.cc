// Checks within one table, run right after it was read.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "config/validate.h"

namespace pillion::config {
namespace {

using std::chrono::milliseconds;

std::string tick(std::string_view name) { return "`" + std::string(name) + "`"; }

void check_backoff(Reader& reader, const Node& node, milliseconds base, milliseconds max) {
  if (base <= max) return;
  reader.error(
      position_of(node, "base"), "`base` is longer than `max`",
      {"the waits grow from `base` (" + to_string(base) + ") to `max` (" + to_string(max) + ")"});
}

void check_single_success(Reader& reader, const Node& node, std::string_view kind,
                          const std::optional<Probe>& probe) {
  if (!probe || probe->success_threshold == 1) return;
  reader.error(position_of(node, std::string(kind) + ".success_threshold"),
               "`success_threshold` of a " + std::string(kind) + " must be 1",
               {"only a readiness probe can ask for several successes in a row"});
}

// Listen addresses of one proxy; each may be bound once.
class ListenSet {
 public:
  ListenSet(Reader& reader, const Node& node) : reader_(reader), node_(node) {}

  void add(const std::string& path, const SocketAddress& address,
           Transport transport = Transport::Tcp) {
    for (const auto& [other, other_address, other_transport] : seen_) {
      if (other_transport != transport) continue;
      const bool overlaps =
          other_address.ip == address.ip || other_address.ip.is_any() || address.ip.is_any();
      if (other_address.port != address.port || !overlaps) continue;
      reader_.error(position_of(node_, path),
                    "port " + std::to_string(address.port) + " is used twice",
                    {tick(other) + " listens on " + other_address.to_string()});
      return;
    }
    seen_.emplace_back(path, address, transport);
  }

 private:
  Reader& reader_;
  const Node& node_;
  std::vector<std::tuple<std::string, SocketAddress, Transport>> seen_;
};

// `path` names an upstream that must be there.
void check_upstream_name(Reader& reader, const Node& node, const ProxyConfig& proxy,
                         const std::string& path, const std::string& wanted) {
  if (wanted.empty() || proxy.find_upstream(wanted) != nullptr) return;
  std::vector<std::string_view> names;
  for (const Upstream& upstream : proxy.upstreams) names.push_back(upstream.name);
  const std::string_view near = nearest(wanted, names);
  std::vector<std::string> notes;
  if (!near.empty()) notes.push_back("did you mean " + tick(near) + "?");
  if (near.empty() && !names.empty()) notes.push_back("defined are " + list_names(names, "and"));
  if (names.empty()) notes.push_back("define it: [upstream." + wanted + "] with an `address`");
  reader.missing(position_of(node, path), "there is no upstream " + tick(wanted), std::move(notes));
}

void check_explicit(Reader& reader, const Node& node, const ProxyConfig& proxy) {
  for (std::size_t i = 0; i < proxy.explicit_listeners.size(); ++i) {
    const ExplicitListener& listener = proxy.explicit_listeners[i];
    const std::string path = "explicit." + std::to_string(i);
    check_upstream_name(reader, node, proxy, path + ".upstream", listener.upstream);
    check_upstream_name(reader, node, proxy, path + ".fallback", listener.fallback);
    if (!listener.upstream.empty() && !listener.fallback.empty()) {
      reader.error(position_of(node, path + ".fallback"),
                   "`fallback` has no meaning beside `upstream`, which takes everything");
    }
    if (listener.transport == Transport::Udp && listener.upstream.empty()) {
      reader.missing(position_of(node, path), "a listener for datagrams needs `upstream`",
                     {"a datagram names no host to route by"});
    }
  }
}

// As names are compared: without case and final dot.
std::string plain_host(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string plain(host);
  for (char& c : plain) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return plain;
}

void check_hosts(Reader& reader, const Node& node, const ProxyConfig& proxy) {
  std::map<std::string, std::string_view> owner;
  for (const Upstream& upstream : proxy.upstreams) {
    for (std::size_t i = 0; i < upstream.hosts.size(); ++i) {
      const auto [at, is_new] = owner.emplace(plain_host(upstream.hosts[i]), upstream.name);
      if (is_new || at->second == upstream.name) continue;
      reader.error(position_of(node, "upstream." + upstream.name + ".hosts." + std::to_string(i)),
                   "the host " + tick(upstream.hosts[i]) + " leads to two upstreams",
                   {tick(at->second) + " and " + tick(upstream.name)});
    }
  }
}

// Sockets are handed over by name, with ":" between the names.
bool is_own_listener(std::string_view name) {
  constexpr std::string_view kOwn[] = {"inbound", "inbound6",   "outbound", "outbound6",
                                       "health",  "prometheus", "admin",    "broker",
                                       "dns",     "dns6",       "dns-tcp",  "dns-tcp6"};
  return std::find(std::begin(kOwn), std::end(kOwn), name) != std::end(kOwn) ||
         name.starts_with("explicit-");
}

void check_published(Reader& reader, const Node& node, const ProxyConfig& proxy) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < proxy.inbound.published.size(); ++i) {
    const std::string& name = proxy.inbound.published[i].listener;
    const Position at = position_of(node, "inbound.published." + std::to_string(i) + ".listener");
    const std::string message = "`listener` cannot be \"" + name + "\"";
    if (is_own_listener(name)) {
      reader.error(at, message,
                   {"the proxy has a socket of that name itself; choose another, such as "
                    "\"publish-8080\""});
    } else if (name.empty() || name.find(':') != std::string::npos) {
      reader.error(at, message, {"it must be a name without `:`, such as \"publish-8080\""});
    } else if (!names.insert(name).second) {
      reader.error(at, message, {"another listener has that name"});
    }
  }
}

// TLS on a port needs a certificate of ours.
void check_mutual_tls(Reader& reader, const Node& node, const ProxyConfig& proxy) {
  if (proxy.identity) return;
  const auto missing = [&](const std::string& path) {
    reader.missing(position_of(node, path), "`mutual_tls` needs an `identity`",
                   {"add a table `identity` with certificate_file, key_file, trust_bundle_file"});
  };
  if (proxy.inbound.mutual_tls != MutualTls::Disable) missing("inbound.mutual_tls");
  for (std::size_t i = 0; i < proxy.inbound.ports.size(); ++i) {
    const auto& port = proxy.inbound.ports[i];
    if (port.mutual_tls && *port.mutual_tls != MutualTls::Disable) {
      missing("inbound.ports." + std::to_string(i) + ".mutual_tls");
    }
  }
}

}  // namespace

Position position_of(const Node& node, std::string_view path) {
  const Node* at = &node;
  Position position = node.position;
  while (!path.empty()) {
    const std::size_t dot = path.find('.');
    const std::string_view part = path.substr(0, dot);
    path = dot == std::string_view::npos ? std::string_view{} : path.substr(dot + 1);
    if (at->kind == Node::Kind::Array) {
      const std::size_t index = static_cast<std::size_t>(std::atoi(std::string(part).c_str()));
      if (index >= at->items.size()) return position;
      at = &at->items[index];
    } else {
      const Entry* entry = at->find_entry(part);
      if (entry == nullptr) return position;
      at = &entry->value;
      // A table shows at its key, a value at itself.
      position = entry->position;
    }
    const bool is_value = at->kind != Node::Kind::Table && at->kind != Node::Kind::Array;
    if (is_value || path.empty()) {
      if (is_value) position = at->position;
    }
  }
  return position;
}

void check_settings(Reader& reader, const Node& node, ServiceSettings& settings) {
  if (node.find("sidecar_reserve") == nullptr) {
    settings.sidecar_reserve = std::min(milliseconds(5'000), settings.stop_grace / 5);
  }
  const milliseconds needed = settings.drain_delay + settings.sidecar_reserve;
  if (needed > settings.stop_grace) {
    const bool has_reserve = node.find("sidecar_reserve") != nullptr;
    reader.error(position_of(node, has_reserve ? "sidecar_reserve" : "drain_delay"),
                 "`drain_delay` and `sidecar_reserve` leave the app no time to stop",
                 {to_string(settings.drain_delay) + " + " + to_string(settings.sidecar_reserve) +
                  " is more than `stop_grace`, " + to_string(settings.stop_grace)});
  }
}

void check_child(Reader& reader, const Node& node, Child& child) {
  if (const Entry* config = node.find_entry("config"); config != nullptr && !node.find("use")) {
    reader.missing(config->position, "`config` is only for a component of ours",
                   {"say which with `use`, or pass the program its own file in `command`"});
  }
  if (const Entry* gate = node.find_entry("gate"); gate != nullptr && child.use) {
    reader.error(gate->position, "`gate` cannot be set together with `use`",
                 {"a component of ours says by itself when it is ready"});
  }
  check_single_success(reader, node, "startup_probe", child.startup_probe);
  check_single_success(reader, node, "liveness_probe", child.liveness_probe);
  if (const Node* backoff = node.find("backoff")) {
    check_backoff(reader, *backoff, child.backoff.base, child.backoff.max);
  }
  if (child.limits.memory && child.limits.memory_high &&
      *child.limits.memory_high > *child.limits.memory) {
    reader.error(position_of(node, "limits.memory_high"), "`memory_high` is above `memory`");
  }
  if (child.limits.memory && child.requests.memory &&
      *child.requests.memory > *child.limits.memory) {
    reader.error(position_of(node, "requests.memory"), "the request is above the limit",
                 {"`limits.memory` is " + to_string(*child.limits.memory)});
  }
  if (child.limits.memory && child.requests.memory_min &&
      *child.requests.memory_min > *child.limits.memory) {
    reader.error(position_of(node, "requests.memory_min"), "the guarantee is above the limit",
                 {"`limits.memory` is " + to_string(*child.limits.memory)});
  }
  if (child.limits.cpu && child.requests.cpu && *child.requests.cpu > *child.limits.cpu) {
    reader.error(position_of(node, "requests.cpu"), "the request is above the limit",
                 {"`limits.cpu` is " + to_string(*child.limits.cpu)});
  }
}

void check_proxy(Reader& reader, const Node& node, ProxyConfig& proxy) {
  check_explicit(reader, node, proxy);
  check_hosts(reader, node, proxy);
  check_published(reader, node, proxy);
  ListenSet listens(reader, node);
  listens.add("inbound.listen", proxy.inbound.listen);
  listens.add("outbound.listen", proxy.outbound.listen);
  listens.add("health.listen", proxy.health.listen);
  listens.add("prometheus.listen", proxy.prometheus.listen);
  listens.add("admin.listen", proxy.admin.listen);
  listens.add("dns.listen", proxy.dns.listen);
  for (std::size_t i = 0; i < proxy.explicit_listeners.size(); ++i) {
    listens.add("explicit." + std::to_string(i) + ".listen", proxy.explicit_listeners[i].listen,
                proxy.explicit_listeners[i].transport);
  }
  check_mutual_tls(reader, node, proxy);
  check_rules(reader, node, proxy);
  if (!proxy.inbound.trusted_proxies.empty() && proxy.inbound.trusted_hops == 0) {
    reader.error(position_of(node, "inbound.trusted_proxies"),
                 "`trusted_proxies` has no meaning without `trusted_hops`",
                 {"say how many proxies stand before this one: trusted_hops = 1"});
  }
  if (proxy.drain.minimum > proxy.drain.maximum) {
    reader.error(position_of(node, "drain.minimum"), "`minimum` is longer than `maximum`",
                 {"`maximum` is " + to_string(proxy.drain.maximum)});
  }
  if (!proxy.admin.listen.ip.is_loopback()) {
    reader.error(position_of(node, "admin.listen"), "the admin listener must be on loopback",
                 {"it can change the proxy's behaviour; use 127.0.0.1 or [::1]"});
  }
}

void check_log_input(Reader& reader, const Node& node, LogInput& input) {
  if (input.child && node.find("framing") == nullptr) input.framing = Framing::Cri;
  const bool takes_pattern = input.format == LogFormat::Pattern ||
                             input.format == LogFormat::Regex || input.format == LogFormat::Csv;
  if (takes_pattern && node.find("pattern") == nullptr) {
    reader.missing(position_of(node, "format"),
                   "format \"" + std::string(name_of(input.format)) + "\" needs `pattern`");
  }
  if (!takes_pattern && input.pattern && node.find("format") != nullptr) {
    reader.error(position_of(node, "pattern"),
                 "`pattern` is only for the formats \"pattern\", \"regex\" and \"csv\"");
  }
  for (const char* key : {"format", "framing", "encoding", "multiline"}) {
    if (input.journald && node.find(key) != nullptr) {
      reader.error(position_of(node, key),
                   "`" + std::string(key) + "` is not for `journald`, whose entries have fields");
    }
  }
  if (!input.exclude.empty() && !input.file) {
    reader.error(position_of(node, "exclude"), "`exclude` is only for `file`");
  }
}

void check_secrets(Reader& reader, const Node& node, SecretsConfig& secrets) {
  std::set<std::string_view> paths;
  const Node* files = node.find("file");
  for (std::size_t i = 0; i < secrets.files.size(); ++i) {
    SecretFile& file = secrets.files[i];
    const Node* item = files != nullptr && i < files->items.size() ? &files->items[i] : &node;
    if (item->find("source") == nullptr && !secrets.vault) file.source = SecretSource::File;
    if (file.source == SecretSource::Vault && !node.find("vault")) {
      reader.missing(position_of(*item, "source"), "there is no [vault] to read this secret from");
    }
    if (file.source == SecretSource::Vault && !item->find("field")) {
      reader.missing(item->position, "a secret from Vault needs `field`",
                     {"name the field of " + tick(file.secret) + " that holds the value"});
    }
    if (file.source == SecretSource::File && item->find("secret") &&
        !file.secret.starts_with('/')) {
      reader.error(position_of(*item, "secret"),
                   "`secret` holds the relative path \"" + file.secret + "\"",
                   {"with source \"file\" it must be the absolute path of the local file",
                    "a secret from Vault needs a [vault] table"});
    }
    if (!file.path.empty() && !paths.insert(file.path).second) {
      reader.error(position_of(*item, "path"), "two secrets are written to " + file.path);
    }
  }
  if (secrets.files.empty() && !secrets.vault && !node.find("file") && !node.find("vault")) {
    reader.missing(node.position, reader.table_name() + " needs `file`, `vault` or both");
  }
}

}  // namespace pillion::config
