// A configured upstream in one worker: its endpoints, the choice among them, its limits. The choice
// itself is a pure function of the loads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "config/proxy.h"
#include "proxy/endpoint.h"
#include "proxy/request_id.h"
#include "proxy/snapshot.h"

namespace pillion::proxy {

// Picks an endpoint: `loads` are the connections in use, `previous` the last choice, `random` any
// number. Never `excluded` unless it is the only one. Requires at least one load.
std::size_t choose_endpoint(config::LoadBalancing policy, std::span<const std::size_t> loads,
                            std::size_t previous, std::uint64_t random, std::size_t excluded);
inline constexpr std::size_t kNoEndpoint = static_cast<std::size_t>(-1);

class Cluster {
 public:
  Cluster(SnapshotPointer snapshot, std::size_t index)
      : snapshot_(std::move(snapshot)), index_(index) {}

  const config::Upstream& config() const { return snapshot_->upstreams()[index_]; }
  bool uses_http2() const {
    return config().protocol == config::ProxyProtocol::Http2 ||
           config().protocol == config::ProxyProtocol::Grpc;
  }
  bool is_neighbour() const { return snapshot_->is_neighbour(index_); }
  void set_endpoints(std::vector<std::shared_ptr<Endpoint>> endpoints);
  bool has_endpoints() const { return !endpoints_.empty(); }
  const std::vector<std::shared_ptr<Endpoint>>& endpoints() const { return endpoints_; }

  // `excluded` is the endpoint that just failed, or nullptr.
  const std::shared_ptr<Endpoint>& choose(RandomSource& random, const Endpoint* excluded);

  RouteStats& stats(Direction direction, WorkerStats& worker) {
    RouteStats*& stats = stats_[static_cast<std::size_t>(direction)];
    if (stats == nullptr) stats = &worker.route(direction, config().name);
    return *stats;
  }

  unsigned active_requests = 0;

 private:
  SnapshotPointer snapshot_;
  std::size_t index_;
  std::vector<std::shared_ptr<Endpoint>> endpoints_;
  std::vector<std::size_t> loads_;
  std::size_t previous_ = 0;
  std::array<RouteStats*, 2> stats_{};
};

// What a connection routes by: the snapshot and this worker's clusters for it, by upstream index.
// Shared by the connections that began under it.
struct RouteTable {
  SnapshotPointer snapshot;
  std::vector<std::shared_ptr<Cluster>> clusters;
  TlsPointer tls;  // shared by all workers
};

}  // namespace pillion::proxy
