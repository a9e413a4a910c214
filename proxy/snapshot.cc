#include "proxy/snapshot.h"

#include <algorithm>
#include <array>

#include "runtime/http1/syntax.h"

namespace pillion::proxy {
namespace {

constexpr std::uint32_t kVirtualBase = 240u << 24 | 240u << 16;
constexpr std::size_t kHostBytesMax = 260;

// `buffer` has room for all of it.
std::string_view lower_into(char* buffer, std::string_view text) {
  std::size_t size = 0;
  for (const char c : text) {
    buffer[size++] = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  }
  return {buffer, size};
}

config::ProxyProtocol protocol_of(std::string_view name) {
  for (const auto& [protocol, spelled] : config::names_of<config::ProxyProtocol>()) {
    if (spelled == name) return protocol;
  }
  return config::ProxyProtocol::Auto;
}

// Whether what it gets is what the client sent, so that TLS may be inside.
bool passes_tls(const config::Upstream& upstream) {
  return !upstream.tls && (upstream.protocol == config::ProxyProtocol::Tls ||
                           upstream.protocol == config::ProxyProtocol::Tcp);
}

// Plain HTTP can be said to it.
bool takes_http(const config::Upstream& upstream) {
  return upstream.tls || upstream.protocol != config::ProxyProtocol::Tls;
}

std::uint64_t key_of(std::uint32_t address, std::uint16_t port) {
  return std::uint64_t{address} << 16 | port;
}

}  // namespace

bool is_virtual_address(const Address& address) {
  return !address.is_v6() && (address.v4_bits() & 0xffff0000u) == kVirtualBase;
}

// What Istio and linkerd assume, together (SMTP, DNS, MySQL, PostgreSQL, Redis, Elasticsearch
// transport, memcached, MongoDB).
bool is_server_first_port(std::uint16_t port) {
  constexpr std::array<std::uint16_t, 9> kPorts = {25,   53,   587,   3306, 5432,
                                                   6379, 9300, 11211, 27017};
  return std::find(kPorts.begin(), kPorts.end(), port) != kPorts.end();
}

Snapshot::Snapshot(config::ProxyConfig config, std::vector<Neighbour> neighbours,
                   std::shared_ptr<const RuleSet> rules)
    : config_(std::move(config)),
      configured_count_(config_.upstreams.size()),
      neighbours_(std::move(neighbours)),
      rules_(std::move(rules)) {
  for (std::size_t i = 0; i < configured_count_; ++i) {
    const config::Upstream& upstream = config_.upstreams[i];
    const auto names = upstream.hosts.empty() ? std::vector{upstream.name} : upstream.hosts;
    for (const std::string& name : names) {
      if (takes_http(upstream)) hosts_.add(name, i);
      if (passes_tls(upstream)) server_names_.add(name, i);
    }
    routes_server_names_ |= passes_tls(upstream);
  }
  for (const Neighbour& neighbour : neighbours_) {
    if (neighbour.state == NeighbourState::Running) add_neighbour(neighbour);
  }
}

void Snapshot::add_neighbour(const Neighbour& neighbour) {
  for (const NeighbourPort& port : neighbour.ports) {
    const std::string suffix = ":" + std::to_string(port.port);
    config::Upstream upstream;
    upstream.name = neighbour.name + suffix;
    upstream.address = {{port.address, port.address_port}};
    upstream.protocol = protocol_of(port.protocol);
    const std::size_t index = config_.upstreams.size();
    by_neighbour_address_.emplace(key_of(neighbour.address, port.port), index);
    by_neighbour_.emplace(upstream.name, index);
    by_neighbour_.emplace(neighbour.name + std::string(kNeighbourSuffix) + suffix, index);
    config_.upstreams.push_back(std::move(upstream));
  }
}

std::optional<std::size_t> Snapshot::upstream_of_authority(std::string_view authority) const {
  if (hosts_.is_empty() || authority.empty() || authority.size() > kHostBytesMax) return {};
  char buffer[kHostBytesMax];
  const std::string_view lower = lower_into(buffer, authority);
  if (const auto exact = hosts_.find_exact(lower)) return exact;
  return hosts_.find(http1::split_authority(lower).host);
}

std::optional<std::size_t> Snapshot::upstream_of_any(std::string_view authority) const {
  if (authority.empty()) return {};
  return hosts_.any();
}

std::optional<std::size_t> Snapshot::upstream_of_address(const Address& address) const {
  if (!is_virtual_address(address)) return {};
  const std::uint32_t index = address.v4_bits() - kVirtualBase;
  if (index != 0 && index <= configured_count_) return index - 1;
  const auto found = by_neighbour_address_.find(key_of(address.v4_bits(), address.port()));
  if (found == by_neighbour_address_.end()) return {};
  return found->second;
}

std::optional<std::size_t> Snapshot::neighbour_of_authority(std::string_view authority) const {
  if (by_neighbour_.empty() || authority.empty() || authority.size() > kHostBytesMax) return {};
  char buffer[kHostBytesMax];
  const std::string_view lower = lower_into(buffer, authority);
  auto found = by_neighbour_.find(lower);
  if (found == by_neighbour_.end()) found = by_neighbour_.find(std::string(lower) + ":80");
  if (found == by_neighbour_.end()) return {};
  return found->second;
}

bool Snapshot::is_neighbour_address(const Address& address) const {
  return !address.is_v6() &&
         std::any_of(neighbours_.begin(), neighbours_.end(), [&](const Neighbour& neighbour) {
           return neighbour.address == address.v4_bits();
         });
}

Refusal Snapshot::refusal_of(const Address& destination) const {
  for (const Neighbour& neighbour : neighbours_) {
    if (destination.is_v6() || neighbour.address != destination.v4_bits()) continue;
    const std::string who = "the service \"" + neighbour.name + "\"";
    switch (neighbour.state) {
      case NeighbourState::Stopped:
        return {503, "service_not_running", who + " is not running on this host"};
      case NeighbourState::Denied:
        return {403, "service_not_allowed",
                "this service may not call " + who +
                    ": its proxy has outbound.unknown = \"refuse\", and no upstream is declared "
                    "for it"};
      case NeighbourState::Distant:
        return {503, "service_not_reachable",
                who +
                    " publishes its ports on a loopback address of the host, which a bridged "
                    "service cannot reach"};
      case NeighbourState::Running: break;
    }
    std::string ports;
    for (const NeighbourPort& port : neighbour.ports) {
      ports += (ports.empty() ? "" : ", ") + std::to_string(port.port);
    }
    return {502, "port_not_published",
            who + " does not publish port " + std::to_string(destination.port()) +
                "; it publishes " + (ports.empty() ? "none" : ports)};
  }
  return {502, "no_route", "no upstream is configured for this host", true};
}

std::optional<std::size_t> Snapshot::upstream_of_server_name(std::string_view name) const {
  if (name.empty()) return {};
  const auto found = server_names_.find(name);
  return found ? found : server_names_.any();
}

std::optional<std::size_t> Snapshot::upstream_of_name(std::string_view name) const {
  for (std::size_t i = 0; i < config_.upstreams.size(); ++i) {
    if (config_.upstreams[i].name == name) return i;
  }
  return {};
}

const config::InboundPort* Snapshot::inbound_port(std::uint16_t port) const {
  for (const config::InboundPort& one : config_.inbound.ports) {
    if (one.port == port) return &one;
  }
  return nullptr;
}

}  // namespace pillion::proxy
