#include "supervisor/core/backoff.h"

#include <algorithm>

namespace pillion::supervisor::core {

Duration next_backoff(const BackoffPlan& plan, unsigned failures_in_a_row, Random& random) {
  if (failures_in_a_row == 0) return Duration::zero();
  Duration delay = plan.base;
  for (unsigned i = 1; i < failures_in_a_row && delay < plan.max; ++i) delay *= 2;
  delay = std::min(delay, plan.max);
  const double factor = 1.0 + plan.jitter * (2.0 * random.unit() - 1.0);
  return Duration(static_cast<Duration::rep>(static_cast<double>(delay.count()) * factor));
}

}  // namespace pillion::supervisor::core
