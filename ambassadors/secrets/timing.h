// When to renew, to log in again, to read again and to retry: pure decisions, randomness and time
// given. The random parts spread the calls of many machines that started together.
#pragma once

#include <random>

#include "runtime/clock.h"

namespace pillion::secrets {

using Random = std::mt19937_64;

// 10–20 % of the time to live: the tail of a token's life in which it is replaced, not renewed.
Duration choose_grace(Duration ttl, Random& random);

// Two thirds of the remaining time and a third of the grace, as Vault's own lifetime watcher.
Duration next_renewal(Duration remaining, Duration grace);

// A renewal that grants no more than the grace says that the maximum life is reached.
bool is_at_end_of_life(Duration granted, Duration grace);

// For what cannot be renewed (tokens, leases): 80–90 % of its life.
Duration next_replacement(Duration ttl, Random& random);

// The configured period ±10 %.
Duration next_refresh(Duration period, Random& random);

// Exponential with full jitter: the n-th wait is random up to min(max, base · 2ⁿ), and never less
// than half the base, so that no run of bad luck becomes a storm.
class Backoff {
 public:
  Backoff(Duration base, Duration max) : base_(base), max_(max) {}
  Duration next(Random& random);
  void reset() { failures_ = 0; }
  unsigned failures() const { return failures_; }

 private:
  Duration base_;
  Duration max_;
  unsigned failures_ = 0;
};

// After a 429: what the server asked for (at most five minutes) or the backoff, whichever is
// longer, plus up to a quarter.
Duration next_try_after_429(Duration retry_after, Backoff& backoff, Random& random);

// A token bucket: how many requests may start. Time is an argument and never goes back.
class RequestLimiter {
 public:
  RequestLimiter(double per_second, double burst)
      : per_second_(per_second), burst_(burst), available_(burst) {}
  // Zero and one request is taken, or how long to wait before asking again.
  Duration take(MonotonicTime now);

 private:
  double per_second_;
  double burst_;
  double available_;
  MonotonicTime refilled_at_{};
};

}  // namespace pillion::secrets
