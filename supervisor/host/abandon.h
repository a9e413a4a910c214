// The last thing that is done for a service whose supervisor crashes again and again: the keeper
// has killed the children; groups, network, mounts and files go too, without the core.
#pragma once

#include "config/service.h"
#include "runtime/loop.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::host {

// Runs the loop until all is gone, at most some 20 seconds. Returns 70.
int abandon_service(Loop& loop, KeeperClient& keeper, const config::Service& service,
                    const ServicePaths& paths);

}  // namespace pillion::supervisor::host
