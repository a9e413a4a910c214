// A reload: the service moves from its plan to another one with as little change as can be. Each
// child keeps its slot; those that are not wanted any more leave when nothing of the old plan
// depends on them; those that need a new generation get it in start order, each when what it
// depends on runs as the new plan says; new ones start as on any other day.
#include <fmt/format.h>

#include <algorithm>

#include "supervisor/core/replan.h"
#include "supervisor/core/service_run.h"

namespace pillion::supervisor::core {

namespace {

void append_name(std::string& list, const std::string& name) {
  list += (list.empty() ? "" : ",") + name;
}

// Dependencies of a plan are indexes of its own; in the service they are slots.
ChildPlan in_slots(const ChildPlan& plan, const std::vector<ChildId>& slots) {
  ChildPlan translated = plan;
  for (ChildId& id : translated.dependencies) id = slots[id];
  for (ChildId& id : translated.after) id = slots[id];
  return translated;
}

}  // namespace

std::string ServiceRun::why_no_reload(const Replan& event) const {
  if (is_stopping(state_)) return "the service stops";
  if (deploy_) return "a deploy is under way";
  return find_plan_fault(event.plan);
}

// For each child of the plan its slot: the one it has, the vacant one of its name, or a new one.
std::vector<ChildId> ServiceRun::assign_slots(const ServicePlan& plan) {
  std::vector<ChildId> slots;
  for (const ChildPlan& child : plan.children) {
    const ChildId slot = find_slot(child.name);
    if (slot == children_.size()) {
      ChildPlan nobody;
      nobody.name = child.name;
      children_.emplace_back(slot, nobody);
      children_.back().set_membership(Membership::Vacant);
    }
    slots.push_back(slot);
  }
  return slots;
}

void ServiceRun::on_event(const Replan& event, Turn& turn) {
  const std::string fault = why_no_reload(event);
  if (!fault.empty()) {
    turn.report(EventKind::ReloadRefused, Report::Level::Warning,
                "the new configuration is not taken over: " + fault, {{"reason", fault}});
    return;
  }
  turn.actions.push_back(PlanChanged{});
  turn.is_state_dirty = true;
  const std::vector<ChildId> slots = assign_slots(event.plan);
  ReportFields fields;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const ChildPlan plan = in_slots(event.plan.children[i], slots);
    Child& child = children_[slots[i]];
    const auto change = event.changes.find(plan.name);
    if (child.is_vacant()) {
      append_name(fields["added"], plan.name);
      child.occupy(plan, Membership::Member, turn);
      continue;
    }
    const ChildChange kind = change == event.changes.end() ? ChildChange::None : change->second;
    if (kind == ChildChange::Replace) append_name(fields["replaced"], plan.name);
    if (kind == ChildChange::Reload || kind == ChildChange::InPlace) {
      append_name(fields["changed"], plan.name);
    }
    apply(child, plan, kind, turn);
  }
  for (Child& child : children_) {
    const bool is_in_plan = std::find(slots.begin(), slots.end(), child.id()) != slots.end();
    if (!child.is_member() || is_in_plan) continue;
    append_name(fields["removed"], child.plan().name);
    child.set_membership(Membership::Leaving);
  }
  plan_.stop_grace = event.plan.stop_grace;
  plan_.drain_delay = event.plan.drain_delay;
  plan_.sidecar_reserve = event.plan.sidecar_reserve;
  turn.stop_grace = plan_.stop_grace;
  is_reload_under_way_ = true;
  refresh_plan();
  turn.report(EventKind::ReloadApplied, Report::Level::Info, "the new configuration is taken over",
              std::move(fields));
}

void ServiceRun::apply(Child& child, const ChildPlan& plan, ChildChange change, Turn& turn) {
  if (child.membership() == Membership::Leaving) {
    // It was to go and may stay. When it has been told already, it starts again at once.
    child.set_membership(Membership::Member);
    if (child.desired() == Desired::Down) {
      child.set_next_plan(plan, turn);
      child.revive(turn);
      return;
    }
  }
  const bool is_replaced = change == ChildChange::Replace || child.plan().role != plan.role ||
                           child.next_plan() != nullptr;
  if (is_replaced) {
    child.set_next_plan(plan, turn);
    return;
  }
  if (change == ChildChange::None) {
    child.set_dependencies(plan);
    return;
  }
  child.take_plan(plan, turn);
  turn.actions.push_back(UsePlan{child.id()});
  const bool has_program = child.state() == ChildState::PostStart ||
                           child.state() == ChildState::Gating ||
                           child.state() == ChildState::Running;
  if (change == ChildChange::Reload && has_program) {
    turn.actions.push_back(ReloadChild{child.id(), child.generation()});
  }
}

// Something that still runs by the old plan depends on it.
bool ServiceRun::is_needed(const Child& child) const {
  return std::any_of(children_.begin(), children_.end(), [&](const Child& other) {
    const bool is_old = other.next_plan() || other.membership() == Membership::Leaving;
    if (&other == &child || !is_old || !is_alive(other.state())) return false;
    return depends_on(other, child);
  });
}

// Everything it depends on runs as the new plan says.
bool ServiceRun::has_turn_come(const ChildPlan& plan) const {
  return std::all_of(plan.dependencies.begin(), plan.dependencies.end(), [&](ChildId id) {
    const Child& on = children_[id];
    if (on.next_plan()) return false;
    return on.state() == ChildState::Running || on.state() == ChildState::Completed ||
           on.desired() == Desired::Down;
  });
}

bool ServiceRun::settle_leaving(Child& child, Turn& turn) {
  const bool is_of_deploy = deploy_ && deploy_->current == child.id();
  if (!is_of_deploy && is_at_rest(child.state()) && child.state() != ChildState::Stuck) {
    child.set_membership(Membership::Vacant);
    turn.is_state_dirty = true;
    return true;
  }
  if (child.desired() == Desired::Down || is_needed(child)) return false;
  turn.report(EventKind::ChildReplacing, Report::Level::Info,
              fmt::format("{} is not wanted any more (generation {})", child.plan().name,
                          child.generation()),
              {{"reason", "not in the plan any more"}});
  child.hold(turn, "not in the plan any more");
  return true;
}

bool ServiceRun::settle_outdated(Child& child, Turn& turn) {
  if (!is_alive(child.state())) {
    child.take_next_plan(turn);
    return true;
  }
  if (child.desired() == Desired::Down || !next(child.state(), ChildEvent::Replace)) return false;
  if (!has_turn_come(*child.next_plan())) return false;
  child.replace(turn, "its configuration has changed", false);
  return true;
}

bool ServiceRun::is_reload_done() const {
  return std::all_of(children_.begin(), children_.end(), [](const Child& child) {
    if (child.membership() == Membership::Leaving) return child.state() == ChildState::Stuck;
    if (child.next_plan()) return false;
    return child.state() == ChildState::Running || is_at_rest(child.state());
  });
}

bool ServiceRun::settle_reload(Turn& turn) {
  bool is_changed = false;
  for (Child& child : children_) {
    if (child.membership() == Membership::Leaving) is_changed |= settle_leaving(child, turn);
    if (child.is_member() && child.next_plan()) is_changed |= settle_outdated(child, turn);
  }
  if (is_changed || !is_reload_under_way_ || !is_reload_done()) return is_changed;
  is_reload_under_way_ = false;
  turn.is_state_dirty = true;
  turn.report(EventKind::ReloadFinished, Report::Level::Info, "all runs as configured");
  return true;
}

}  // namespace pillion::supervisor::core
