// From two configurations of one service to a reload: which children are new, gone or changed, and
// what each change asks for. The core carries it out (event Replan); `pillion plan` prints it.
#pragma once

#include <string>
#include <vector>

#include "supervisor/core/events.h"
#include "supervisor/core/snapshot.h"

namespace pillion::config {
struct Child;
struct Service;
}  // namespace pillion::config

namespace pillion::supervisor::core {

// What a running child named the same needs to become as in `after`. Reload when only the table of
// a component of ours differs; a host that knows that the component cannot take over such a change
// while it runs makes it a Replace.
ChildChange compare_children(const config::Child& before, const config::Child& after);

// The event for a change from `before`, the accepted configuration, to `after`.
Replan make_replan(const config::Service& before, const config::Service& after);

// Tables that differ and that only a restart of the whole service can apply: "network", "volume",
// "service.name". Empty = `after` can be applied while the service runs.
std::vector<std::string> find_restart_tables(const config::Service& before,
                                             const config::Service& after);

// Names in slot order for a core that is restored: the slots of the snapshot, then children that
// are only in the plan. The host numbers what it keeps by ChildId in this order before
// Core::restore().
std::vector<std::string> slot_names(const ServicePlan& plan, const Snapshot* snapshot);

// In this slot runs, or is about to end, what an earlier configuration said.
bool goes_by_old_plan(const ChildSnapshot& child);

// Empty when the plan can be run: one app, names unique, dependencies exist and have no circle.
std::string find_plan_fault(const ServicePlan& plan);

}  // namespace pillion::supervisor::core
