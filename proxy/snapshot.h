// The accepted configuration, immutable, with the look-ups that routing needs. A connection keeps
// the snapshot it began with, so a reload never changes the rules under a live connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/proxy.h"
#include "proxy/address.h"

namespace pillion::proxy {

class Snapshot {
 public:
  explicit Snapshot(config::ProxyConfig config);

  const config::ProxyConfig& config() const { return config_; }
  const std::vector<config::Upstream>& upstreams() const { return config_.upstreams; }

  // By what the app calls it: "payments", "payments:8080"; the port is ignored unless a `hosts`
  // entry names one. Case does not matter.
  std::optional<std::size_t> upstream_of_authority(std::string_view authority) const;
  // By the virtual address that the namespace's hosts file gives it (240.240.0.1 is the first).
  std::optional<std::size_t> upstream_of_address(const Address& address) const;
  std::optional<std::size_t> upstream_of_name(std::string_view name) const;
  const config::InboundPort* inbound_port(std::uint16_t port) const;

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };

  config::ProxyConfig config_;
  std::unordered_map<std::string, std::size_t, TextHash, std::equal_to<>> by_host_;
};

// Shared by the connections that began under it; the last one frees it.
using SnapshotPointer = std::shared_ptr<const Snapshot>;

// Whether 240.240.0.0/16 holds the address: nothing real listens there.
bool is_virtual_address(const Address& address);

// Protocols whose server speaks first (or is not HTTP for other reasons): never wait for the
// client.
bool is_server_first_port(std::uint16_t port);

}  // namespace pillion::proxy
