// The service's memory as a value and back.
#include <algorithm>

#include "supervisor/core/boot_times.h"
#include "supervisor/core/service_run.h"

namespace pillion::supervisor::core {

namespace {
ChildId next_slot(const std::vector<ChildId>& slots) {
  return slots.empty() ? 0 : *std::max_element(slots.begin(), slots.end()) + 1;
}
}  // namespace

Snapshot ServiceRun::snapshot(MonotonicTime now, Duration boot_now) const {
  const BootTimes times(now, boot_now);
  Snapshot out;
  out.state = state_;
  out.service_started_at = times.to_boot(started_at_);
  out.entered_state_at = times.to_boot(entered_state_at_);
  out.is_capture_live = capture_ == Capture::Live;
  out.has_app_started = has_app_started_;
  if (stop_) {
    StopSnapshot stop;
    stop.reason = stop_->reason;
    stop.requested_at = times.to_boot(stop_->requested_at);
    stop.deadline = times.to_boot(stop_->deadline);
    stop.requests = stop_->requests;
    stop.are_delays_skipped = stop_->are_delays_skipped;
    stop.forced_exit_code = stop_->forced_exit_code;
    stop.app_signalled_at = times.to_boot(stop_->app_signalled_at);
    stop.app_gone_at = times.to_boot(stop_->app_gone_at);
    stop.all_gone_at = times.to_boot(stop_->all_gone_at);
    stop.restart_at = times.to_boot(stop_->restart_at);
    stop.keeps_failures = stop_->keeps_failures;
    out.stop = stop;
  }
  out.is_reload_under_way = is_reload_under_way_;
  if (deploy_) {
    out.deploy = DeploySnapshot{static_cast<int>(deploy_->phase),
                                deploy_->current,
                                deploy_->candidate,
                                times.to_boot(deploy_->deadline),
                                deploy_->min_ready,
                                deploy_->has_asked_to_shift,
                                deploy_->reason};
  }
  for (const Child& child : children_) out.children.push_back(child.snapshot(now, boot_now));
  return out;
}

void ServiceRun::restore(const Snapshot& in, const std::vector<Survivor>& survivors,
                         MonotonicTime now, Duration boot_now) {
  const BootTimes times(now, boot_now);
  is_restored_ = true;
  latest_ = now;
  state_ = in.state;
  started_at_ = times.from_boot(in.service_started_at);
  entered_state_at_ = std::min(times.from_boot(in.entered_state_at), now);
  capture_ = in.is_capture_live ? Capture::Live : Capture::Off;
  has_app_started_ = in.has_app_started;
  is_reload_under_way_ = in.is_reload_under_way;
  if (in.stop) {
    restore_stop(*in.stop, times);
  } else if (is_stopping(state_)) {
    state_ = ServiceState::Running;  // a snapshot that contradicts itself; the children decide
  }
  if (in.deploy) {
    deploy_ = Deploy{};
    deploy_->phase = static_cast<Deploy::Phase>(in.deploy->phase);
    deploy_->current = in.deploy->current;
    deploy_->candidate = in.deploy->candidate;
    deploy_->deadline = times.from_boot(in.deploy->deadline);
    deploy_->min_ready = in.deploy->min_ready;
    deploy_->has_asked_to_shift = in.deploy->has_asked_to_shift;
    deploy_->reason = in.deploy->reason;
    has_candidate_plan_ = plan_.candidate.has_value();
  }
  const ServicePlan given = plan_;
  restore_slots(given, in);
  for (ChildId id = 0; id < in.children.size(); ++id) {
    const Membership membership = children_[id].membership();
    children_[id].restore(in.children[id], now, boot_now);
    children_[id].set_membership(membership);
  }
  adopt(survivors);
}

void ServiceRun::restore_stop(const StopSnapshot& in, const BootTimes& times) {
  stop_ = Stop{};
  stop_->reason = in.reason;
  stop_->requested_at = times.from_boot(in.requested_at);
  stop_->deadline = times.from_boot(in.deadline);
  stop_->requests = in.requests;
  stop_->are_delays_skipped = in.are_delays_skipped;
  stop_->forced_exit_code = in.forced_exit_code;
  stop_->app_signalled_at = times.from_boot(in.app_signalled_at);
  stop_->app_gone_at = times.from_boot(in.app_gone_at);
  stop_->all_gone_at = times.from_boot(in.all_gone_at);
  stop_->restart_at = times.from_boot(in.restart_at);
  stop_->keeps_failures = in.keeps_failures;
}

// The snapshot's slot for each child of the plan; for one that it does not know a new slot behind
// them. One that leaves or has left by the snapshot is taken back.
std::vector<ChildId> ServiceRun::restore_slots_of(const ServicePlan& given, const Snapshot& in) {
  const auto find = [&](const std::string& name, bool is_member) {
    for (ChildId id = 0; id < in.children.size(); ++id) {
      const bool is_of_deploy = deploy_ && (deploy_->current == id || deploy_->candidate == id);
      if (in.children[id].name != name || (!is_member && is_of_deploy)) continue;
      const auto membership = static_cast<Membership>(in.children[id].membership);
      if ((membership == Membership::Member) == is_member) return id;
    }
    return in.children.size();
  };
  std::vector<ChildId> slots;
  ChildId next_new = in.children.size();
  for (const ChildPlan& child : given.children) {
    ChildId slot = find(child.name, true);
    if (slot == in.children.size()) slot = find(child.name, false);
    if (slot == in.children.size()) slot = next_new++;
    slots.push_back(slot);
  }
  return slots;
}

// A member that the plan does not know leaves; so does what was leaving, with the little that is
// kept of its plan.
void ServiceRun::restore_slots(const ServicePlan& given, const Snapshot& in) {
  const std::vector<ChildId> slots = restore_slots_of(given, in);
  const ChildPlan* app = nullptr;
  for (const ChildPlan& child : given.children) {
    if (child.role == Role::App) app = &child;
  }
  std::vector<const ChildPlan*> plans(std::max(next_slot(slots), in.children.size()), nullptr);
  for (std::size_t i = 0; i < slots.size(); ++i) plans[slots[i]] = &given.children[i];
  if (deploy_ && given.candidate) plans[deploy_->candidate] = &*given.candidate;
  const auto translated = [&](const ChildPlan& plan) {
    const ChildPlan& like = &plan == (given.candidate ? &*given.candidate : nullptr) && app
                                ? *app
                                : plan;  // a candidate depends on what the app depends on
    ChildPlan out = plan;
    out.dependencies.clear();
    out.after.clear();
    for (const ChildId on : like.dependencies) out.dependencies.push_back(slots[on]);
    for (const ChildId on : like.after) out.after.push_back(slots[on]);
    return out;
  };
  children_.clear();
  for (ChildId id = 0; id < in.children.size(); ++id) {
    const ChildSnapshot& known = in.children[id];
    auto membership = static_cast<Membership>(known.membership);
    const bool is_gone = membership == Membership::Leaving || membership == Membership::Vacant;
    const bool is_kept = !plans[id] || known.is_outdated || is_gone;
    children_.emplace_back(id, is_kept ? Child::kept_plan(known) : translated(*plans[id]));
    if (!plans[id] && membership == Membership::Member) membership = Membership::Leaving;
    children_.back().set_membership(membership);
    if (!plans[id]) continue;
    if (is_gone) {
      reclaimed_.emplace_back(id, translated(*plans[id]));
    } else if (known.is_outdated) {
      children_.back().restore_next_plan(translated(*plans[id]));
    }
  }
  for (ChildId id = in.children.size(); id < plans.size(); ++id) {
    children_.emplace_back(id, translated(*plans[id]));
  }
  refresh_plan();
}

// Each process goes to the slot that it is of; one of an unknown generation goes to its name's
// member, which ends it before it starts its own.
void ServiceRun::adopt(const std::vector<Survivor>& survivors) {
  std::vector<const Survivor*> of_slot(children_.size(), nullptr);
  std::vector<bool> is_taken(survivors.size(), false);
  const auto take = [&](const Child& child, bool is_exact, bool is_alive_wanted) {
    if (of_slot[child.id()]) return;
    for (std::size_t i = 0; i < survivors.size(); ++i) {
      const Survivor& one = survivors[i];
      if (is_taken[i] || one.child != child.plan().name) continue;
      if (is_exact ? one.generation != child.generation()
                   : one.exited.has_value() == is_alive_wanted) {
        continue;
      }
      of_slot[child.id()] = &one;
      is_taken[i] = true;
      return;
    }
  };
  for (const Child& child : children_) {
    if (!child.is_vacant()) take(child, true, false);
  }
  for (const bool is_alive_wanted : {true, false}) {
    for (const Child& child : children_) {
      if (child.is_member()) take(child, false, is_alive_wanted);
    }
  }
  for (Child& child : children_) child.adopt(of_slot[child.id()]);
  for (std::size_t i = 0; i < survivors.size(); ++i) {
    if (is_taken[i]) continue;
    const ChildId slot = find_slot(survivors[i].child);
    if (slot == children_.size()) continue;
    past_generations_.push_back({slot, survivors[i].generation, !survivors[i].exited});
  }
}

}  // namespace pillion::supervisor::core
