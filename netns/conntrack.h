// Tracked connections (ctnetlink, through libmnl) in the calling thread's network namespace:
// forgetting them, so that a flow that began before a rule existed, or outlived a service, does not
// keep its old translation; and what `doctor` asks about them.
#pragma once

#include "netns/plan.h"
#include "runtime/result.h"

namespace pillion::netns {

// Deletes every entry that has one of the addresses at either end, and UDP entries towards one of
// the ports. Returns how many. A kernel without connection tracking has none: 0.
Result<int> flush_conntrack(const FlushConntrack& flush);

// TCP connections that a translation leads to `port` here, and that arrive with another port of the
// client than the client's: it used one port for several destinations at once.
Result<int> count_rewritten_clients(std::uint16_t port);

}  // namespace pillion::netns
