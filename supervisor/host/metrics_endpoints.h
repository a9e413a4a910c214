// Where a child serves metrics: as its file says, or as its component does by itself.
#pragma once

#include <optional>

#include "config/child.h"
#include "supervisor/host/metrics_fetch.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/service_setup.h"

namespace pillion::supervisor::host {

struct ChildEndpoint {
  std::string child;
  MetricsEndpoint at;
  bool is_running = false;  // else nobody would answer: the keeper's sockets accept all the same
};

// Empty when it serves none.
std::optional<ChildEndpoint> metrics_endpoint_of(const config::Child& child,
                                                 const ServicePaths& paths,
                                                 const ServiceSetup& setup);

}  // namespace pillion::supervisor::host
