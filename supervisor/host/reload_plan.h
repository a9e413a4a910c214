// What a reload to another configuration would do, before anything is done: the core's comparison
// of children, and what the host knows beside it, namely which changes a component can take over
// while it runs. Pure.
#pragma once

#include <string>
#include <vector>

#include "config/differences.h"
#include "config/service.h"
#include "supervisor/core/replan.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::host {

struct ReloadPlan {
  core::Replan replan;
  std::vector<config::Difference> differences;
  std::vector<std::string> removed;  // children that are not wanted any more
  // What only a stop and a start of the whole service can take over: "network", "volume", …. Not
  // empty: nothing at all may be applied.
  std::vector<std::string> restart_tables;
  bool is_empty() const;  // nothing differs
};

// Both with component tables filled in.
ReloadPlan make_reload_plan(const config::Service& before, const config::Service& after,
                            const ServicePaths& paths);

// A running component goes over from one table to the other on SIGHUP.
bool can_reload(const config::ComponentConfig& before, const config::ComponentConfig& after);

}  // namespace pillion::supervisor::host
