#include "ambassadors/secrets/timing.h"

#include <algorithm>
#include <cmath>

namespace pillion::secrets {
namespace {

constexpr auto kRetryAfterMax = std::chrono::minutes(5);

Duration scaled(Duration duration, double factor) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double, std::nano>(static_cast<double>(duration.count()) * factor));
}

double between(double low, double high, Random& random) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

}  // namespace

Duration choose_grace(Duration ttl, Random& random) {
  return scaled(ttl, between(0.10, 0.20, random));
}

Duration next_renewal(Duration remaining, Duration grace) {
  return scaled(remaining, 2.0 / 3.0) + grace / 3;
}

bool is_at_end_of_life(Duration granted, Duration grace) { return granted <= grace; }

Duration next_replacement(Duration ttl, Random& random) {
  return scaled(ttl, between(0.80, 0.90, random));
}

Duration next_refresh(Duration period, Random& random) {
  return scaled(period, between(0.90, 1.10, random));
}

Duration Backoff::next(Random& random) {
  const double ceiling = std::min(
      static_cast<double>(max_.count()),
      std::ldexp(static_cast<double>(base_.count()), static_cast<int>(std::min(failures_, 40u))));
  ++failures_;
  const double drawn = between(0.0, ceiling, random);
  return std::max(Duration(static_cast<Duration::rep>(drawn)), std::min(base_, max_) / 2);
}

Duration next_try_after_429(Duration retry_after, Backoff& backoff, Random& random) {
  const Duration asked = std::min<Duration>(retry_after, kRetryAfterMax);
  return scaled(std::max(asked, backoff.next(random)), between(1.0, 1.25, random));
}

Duration RequestLimiter::take(MonotonicTime now) {
  const double passed = std::chrono::duration<double>(now - refilled_at_).count();
  available_ = std::min(burst_, available_ + passed * per_second_);
  refilled_at_ = now;
  if (available_ >= 1.0) {
    available_ -= 1.0;
    return Duration::zero();
  }
  return std::chrono::duration_cast<Duration>(
             std::chrono::duration<double>((1.0 - available_) / per_second_)) +
         std::chrono::milliseconds(1);
}

}  // namespace pillion::secrets
