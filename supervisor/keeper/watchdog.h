// The keeper's end of systemd's watchdog (sd_notify(3), WATCHDOG=1): petted as long as the keeper's
// loop turns. A hung supervisor is the keeper's business, not systemd's: it is killed and started
// again under the running children.
#pragma once

#include <cstdint>

namespace pillion::keeper {

class Watchdog {
 public:
  // From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; idle when they ask for nothing.
  void set_up();
  // When to call pet() next, CLOCK_MONOTONIC in nanoseconds; 0 = never.
  std::uint64_t next_at_ns() const { return next_at_ns_; }
  // The whole period, 0 without a watchdog.
  std::uint64_t period_ns() const { return period_ns_; }
  void pet(std::uint64_t now_ns);
  void close();

 private:
  int socket_ = -1;
  std::uint64_t period_ns_ = 0;
  std::uint64_t next_at_ns_ = 0;
};

}  // namespace pillion::keeper
