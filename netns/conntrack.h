// Forgetting tracked connections (ctnetlink, through libmnl) in the calling thread's network
// namespace, so that a flow that began before a rule existed, or outlived a service, does not keep
// its old translation.
#pragma once

#include "netns/plan.h"
#include "runtime/result.h"

namespace pillion::netns {

// Deletes every entry that has one of the addresses at either end, and UDP entries towards one of
// the ports. Returns how many. A kernel without connection tracking has none: 0.
Result<int> flush_conntrack(const FlushConntrack& flush);

}  // namespace pillion::netns
