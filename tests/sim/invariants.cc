// What must hold in every world, whatever happens in it.
#include <fmt/format.h>

#include <algorithm>

#include "tests/sim/sim_world.h"

namespace pillion::supervisor::core {

// Never two generations of one child, unless the app is being deployed; and never one number twice.
void SimWorld::check_alone(const Spawn& spawn) {
  unsigned others = 0;
  for (const auto& [key, process] : processes_) {
    if (name(key.first) != name(spawn.child)) continue;
    if (key.second >= spawn.generation) {
      fail(fmt::format("{} starts as g{} after g{}", name(spawn.child), spawn.generation,
                       key.second));
    }
    if (!process.is_main_alive && !process.has_leftovers) continue;
    ++others;
    if (key.first == spawn.child || !plan_.children[spawn.child].name.size()) {
      fail(fmt::format("{} starts as g{} beside g{}", name(spawn.child), spawn.generation,
                       key.second));
    }
    const ChildStatus self = status_of(spawn.child);
    const ChildStatus other = status_of(key.first);
    if (!self.is_candidate && !other.is_candidate && !other.is_leaving) {
      fail(fmt::format("{} runs twice without a deploy", name(spawn.child)));
    }
  }
  if (others > 1) fail(fmt::format("{} runs three times", name(spawn.child)));
}

// Never an app before its gates; no completed init task again; nothing new for a service that ends.
void SimWorld::check_start(const Spawn& spawn) {
  const ChildPlan& plan = plan_.children[spawn.child];
  check_alone(spawn);
  if (may_run_again_.erase(spawn.child) > 0) is_init_done_[spawn.child] = false;
  const bool is_task = plan.role == Role::Init;
  if (is_task && is_init_done_[spawn.child])
    fail(fmt::format("init task {} runs again", plan.name));
  if (is_stop_known_ && (plan.role == Role::App || plan.role == Role::Init)) {
    fail(fmt::format("{} starts while the service stops", plan.name));
  }
  if (plan.role == Role::App && plan_.has_capture && !is_capture_live_) {
    fail("the app starts before its traffic is captured");
  }
  const bool is_first = !has_started_[spawn.child];
  has_started_[spawn.child] = true;
  if (!is_first || is_stop_known_) return;
  for (const ChildId id : plan.dependencies) {
    const ChildPlan& dependency = plan_.children[id];
    if (dependency.role == Role::Init) {
      if (!is_init_done_[id])
        fail(fmt::format("{} starts before init {}", plan.name, dependency.name));
      continue;
    }
    const Process* latest = nullptr;
    for (const auto& [key, process] : processes_) {
      if (key.first == id) latest = &process;
    }
    const bool is_started = latest && latest->is_exec_known &&
                            (!latest->needs_gate || latest->is_gate_known) &&
                            (!latest->needs_hook || latest->is_hook_known);
    if (!is_started) {
      fail(fmt::format("{} starts before {} has started", plan.name, dependency.name));
    }
  }
}

// Sidecars outlive the app, ambassadors outlive sidecars, adapters outlive ambassadors: until the
// deadline, nothing is ended while something that depends on it runs.
void SimWorld::check_order_of_end(ChildId child, Generation generation, const char* what) {
  const auto found = processes_.find({child, generation});
  if (found == processes_.end()) return;
  Process& process = found->second;
  const ChildPlan& plan = plan_.children[child];
  const bool needs_gate = process.needs_gate || process.needs_hook;
  const bool has_not_started = !process.is_exec_known || (needs_gate && !process.is_gate_known) ||
                               (process.needs_hook && !process.is_hook_known);
  const bool serves_nobody = has_not_started || plan.role == Role::Init;
  if (!is_stop_known_ || serves_nobody || !process.is_main_alive) {
    process.is_being_replaced = true;
    return;
  }
  if (process.is_being_replaced || is_stop_forced_ || now_ >= stop_deadline_) return;
  // Halfway through a reload old and new plan may depend on each other in a circle.
  if (is_reload_open_) return;
  for (const auto& [key, other] : processes_) {
    const auto& on = plan_.children[key.first].dependencies;
    if (std::find(on.begin(), on.end(), child) == on.end()) continue;
    if (!other.is_main_alive || other.is_unkillable) continue;
    fail(fmt::format("{} is {} before {} is gone", plan.name, what, name(key.first)));
  }
}

// Nothing is left running, and every stop ends.
void SimWorld::check_finish(const Finish& finish) {
  is_finished_ = true;
  const auto& stuck = finish.receipt.stuck;
  for (const auto& [key, process] : processes_) {
    if (!process.is_main_alive && !process.has_leftovers) continue;
    if (std::find(stuck.begin(), stuck.end(), name(key.first)) != stuck.end()) continue;
    fail(fmt::format("{} g{} is left running", name(key.first), key.second));
  }
  if (is_network_up_) fail("the network is left");
  if (finish.exit_code < 0 || finish.exit_code > 255) fail("the exit code is none");
}

}  // namespace pillion::supervisor::core
