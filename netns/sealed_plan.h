// The plan of a sealed namespace: nothing but `lo`, on which every address of the world is local.
// What the app connects to is handed to the proxy's transparent listeners (TPROXY on `lo`), so
// there is no veth, no address translation and no connection tracking; what is neither TCP nor DNS
// is refused at once. Pure; carried out like any other plan.
#pragma once

#include <string>
#include <vector>

#include "netns/plan.h"

namespace pillion::netns {

// Errors: published ports that need address translation (UDP, or TCP without inbound capture).
Result<Plan> plan_sealed(const Wanted& wanted, const HostState& host);

// Rules that hand the app's connections to the proxy. Before them (from plan_sealed) everything
// that leaves loopback is refused.
std::vector<Step> plan_sealed_capture(const Wanted& wanted);

// The table `inet pillion` inside. With `is_captured` false TCP is refused as well.
std::string render_sealed_rules(const Wanted& wanted, bool is_captured);

}  // namespace pillion::netns
