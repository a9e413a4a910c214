// Addresses of the upstreams: numeric ones at once, names through getaddrinfo on the thread pool,
// again and again. Runs on the server's loop; a result that differs is passed on, a failure keeps
// the last good addresses.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "proxy/address.h"
#include "proxy/snapshot.h"
#include "runtime/loop.h"

namespace pillion::proxy {

class Resolver {
 public:
  using OnAddresses = std::function<void(std::size_t upstream, const std::vector<Address>&)>;

  // `on_addresses` is called for every upstream whose addresses changed. `on_first_round` once,
  // when every upstream was tried; never before this constructor returned.
  Resolver(Loop& loop, SnapshotPointer snapshot, OnAddresses on_addresses,
           std::function<void()> on_first_round);
  ~Resolver();

  // Whether a look-up is under way on the thread pool; it cannot be cancelled.
  bool is_busy() const;

  // By upstream index; empty for what has not resolved.
  const std::vector<std::vector<Address>>& addresses() const;

 private:
  struct Core;
  // Shared with the jobs on the thread pool, which may outlive this object.
  std::shared_ptr<Core> core_;
};

}  // namespace pillion::proxy
