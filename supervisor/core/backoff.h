// How long to wait before a restart.
#pragma once

#include "supervisor/core/plan.h"
#include "supervisor/core/random.h"

namespace pillion::supervisor::core {

// The delay after `failures_in_a_row` ends (0 = this is the first): at once, then base, 2·base, …
// up to max, each spread by ±jitter.
Duration next_backoff(const BackoffPlan& plan, unsigned failures_in_a_row, Random& random);

}  // namespace pillion::supervisor::core
