#include "proxy/snapshot.h"

#include <algorithm>
#include <array>

#include "runtime/http1/syntax.h"

namespace pillion::proxy {
namespace {

constexpr std::uint32_t kVirtualBase = 240u << 24 | 240u << 16;
constexpr std::size_t kHostBytesMax = 260;

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return lower;
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

Snapshot::Snapshot(config::ProxyConfig config) : config_(std::move(config)) {
  for (std::size_t i = 0; i < config_.upstreams.size(); ++i) {
    const config::Upstream& upstream = config_.upstreams[i];
    for (const std::string& host : upstream.hosts) by_host_.emplace(to_lower(host), i);
    if (upstream.hosts.empty()) by_host_.emplace(to_lower(upstream.name), i);
  }
}

std::optional<std::size_t> Snapshot::upstream_of_authority(std::string_view authority) const {
  if (by_host_.empty() || authority.empty() || authority.size() > kHostBytesMax) return {};
  char buffer[kHostBytesMax];
  std::size_t size = 0;
  for (const char c : authority) {
    buffer[size++] = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  }
  const std::string_view lower(buffer, size);
  auto found = by_host_.find(lower);
  if (found == by_host_.end()) found = by_host_.find(http1::split_authority(lower).host);
  if (found == by_host_.end()) return {};
  return found->second;
}

std::optional<std::size_t> Snapshot::upstream_of_address(const Address& address) const {
  if (!is_virtual_address(address)) return {};
  const std::uint32_t index = address.v4_bits() - kVirtualBase;
  if (index == 0 || index > config_.upstreams.size()) return {};
  return index - 1;
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
