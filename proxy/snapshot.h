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
#include "proxy/host_names.h"
#include "proxy/rules/rule_set.h"
#include "runtime/neighbours.h"

namespace pillion::proxy {

// Why a captured connection is not passed on.
struct Refusal {
  int status = 502;                       // for an HTTP client
  std::string_view details = "no_route";  // for the access log; static text
  std::string reason;
  bool names_host =
      false;  // the reason is about the request's host, which is to be named behind it
};

class Snapshot {
 public:
  explicit Snapshot(config::ProxyConfig config, std::vector<Neighbour> neighbours = {},
                    std::shared_ptr<const RuleSet> rules = nullptr);

  const config::ProxyConfig& config() const { return config_; }
  // The configured ones, then each port of each neighbour that runs.
  const std::vector<config::Upstream>& upstreams() const { return config_.upstreams; }
  const RuleSet* rules() const { return rules_.get(); }  // null: none are configured
  bool is_neighbour(std::size_t upstream) const { return upstream >= configured_count_; }

  // By what the app calls it: "payments", "payments:8080", or by "*.example.com"; the port and case
  // do not matter. Upstreams that take nothing but the client's own TLS are not among them.
  std::optional<std::size_t> upstream_of_authority(std::string_view authority) const;
  // What `hosts = ["*"]` leads to, for an authority that leads nowhere else; none for an empty one.
  std::optional<std::size_t> upstream_of_any(std::string_view authority) const;
  // By the virtual address that the namespace's hosts file gives it (240.240.0.1 is the first); a
  // neighbour's by address and port.
  std::optional<std::size_t> upstream_of_address(const Address& address) const;
  // "orders:8080", port 80 when none is named.
  std::optional<std::size_t> neighbour_of_authority(std::string_view authority) const;
  // Why nobody is reached at a virtual address that stands for no upstream.
  Refusal refusal_of(const Address& destination) const;
  bool is_neighbour_address(const Address& address) const;
  // By the name in a ClientHello, lower case: only upstreams to which TLS is passed on as it is.
  // "*" among them counts.
  std::optional<std::size_t> upstream_of_server_name(std::string_view name) const;
  bool routes_server_names() const { return routes_server_names_; }
  std::optional<std::size_t> upstream_of_name(std::string_view name) const;
  const config::InboundPort* inbound_port(std::uint16_t port) const;

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };

  using ByText = std::unordered_map<std::string, std::size_t, TextHash, std::equal_to<>>;

  void add_neighbour(const Neighbour& neighbour);

  config::ProxyConfig config_;
  const std::size_t configured_count_;
  const std::vector<Neighbour> neighbours_;
  std::shared_ptr<const RuleSet> rules_;  // shared by the snapshots of one configuration
  bool routes_server_names_ = false;
  HostNames hosts_;
  HostNames server_names_;  // of upstreams to which TLS is passed on
  ByText by_neighbour_;     // "orders:8080"
  std::unordered_map<std::uint64_t, std::size_t> by_neighbour_address_;  // address, port
};

// Shared by the connections that began under it; the last one frees it.
using SnapshotPointer = std::shared_ptr<const Snapshot>;

// Whether 240.240.0.0/16 holds the address: nothing real listens there.
bool is_virtual_address(const Address& address);

// Protocols whose server speaks first (or is not HTTP for other reasons): never wait for the
// client.
bool is_server_first_port(std::uint16_t port);

}  // namespace pillion::proxy
