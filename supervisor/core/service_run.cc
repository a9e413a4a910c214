// Turns of the core. One turn: take in one event, then settle, that is repeat the rules until
// nothing changes; nothing recurses.
#include "supervisor/core/service_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace pillion::supervisor::core {

namespace {

// Far above what a turn can need: every round changes a state, and states have an order.
constexpr int kRoundsMax = 100'000;

// How many helpers stop after the child, one after the other. While a reload is under way, parts of
// two plans may depend on each other in a circle; it is cut where the walk comes back.
unsigned depth_of(const ServicePlan& plan, ChildId id, std::vector<unsigned>& known) {
  if (known[id] != 0) return known[id] - 1;
  known[id] = 1;
  unsigned depth = 0;
  for (const ChildId dependency : plan.children[id].dependencies) {
    if (plan.children[dependency].role == Role::Init) continue;
    depth = std::max(depth, depth_of(plan, dependency, known) + 1);
  }
  known[id] = depth + 1;
  return depth;
}

}  // namespace

ServiceRun::ServiceRun(ServicePlan plan, std::uint64_t seed)
    : plan_(std::move(plan)), random_(seed) {
  for (ChildId id = 0; id < plan_.children.size(); ++id) {
    children_.emplace_back(id, plan_.children[id]);
  }
  refresh_plan();
}

// After any change of a child's plan: the service's plan is that of its slots.
void ServiceRun::refresh_plan() {
  plan_.children.clear();
  for (const Child& child : children_) plan_.children.push_back(child.plan());
  depths_.clear();
  std::vector<unsigned> known(children_.size(), 0);
  for (ChildId id = 0; id < children_.size(); ++id) depths_.push_back(depth_of(plan_, id, known));
}

ChildId ServiceRun::find_slot(const std::string& name) const {
  ChildId vacant = children_.size();
  for (const Child& child : children_) {
    if (child.plan().name != name) continue;
    if (!child.is_vacant()) return child.id();
    vacant = std::min(vacant, child.id());
  }
  return vacant;
}

ChildId ServiceRun::app_slot() const {
  for (const Child& child : children_) {
    if (child.is_member() && child.plan().role == Role::App) return child.id();
  }
  return 0;
}

Turn ServiceRun::make_turn(MonotonicTime now) {
  latest_ = std::max(latest_, now);
  actions_.clear();
  is_state_dirty_ = false;
  return Turn{latest_,
              actions_,
              random_,
              is_state_dirty_,
              is_stopping(state_),
              has_app_started_,
              plan_.stop_grace,
              stop_ ? std::optional(stop_->deadline) : std::nullopt};
}

// When we come much later than we wanted to, nothing that waited for an answer is to blame.
Turn ServiceRun::make_turn_after_wait(MonotonicTime now) {
  const auto expected = next_wakeup();
  const MonotonicTime before = latest_;
  Turn turn = make_turn(now);
  if (!expected) return turn;
  const Duration stall = turn.now - std::max(*expected, before);
  if (stall < kStandstill) return turn;
  const auto stalled_ms = std::chrono::duration_cast<std::chrono::milliseconds>(stall).count();
  turn.report(EventKind::SupervisorStalled, Report::Level::Warning,
              fmt::format("the supervisor did not run for {} ms; deadlines of probes and starts "
                          "are moved by that",
                          stalled_ms),
              {{"stalled_ms", std::to_string(stalled_ms)}});
  for (Child& child : children_) child.forgive(stall, turn);
  if (deploy_) deploy_->deadline += stall;
  turn.is_state_dirty = true;
  return turn;
}

Actions ServiceRun::finish_turn() {
  if (is_state_dirty_ && !is_finished_) actions_.insert(actions_.begin(), WriteState{});
  return std::move(actions_);
}

Actions ServiceRun::start(MonotonicTime now) {
  Turn turn = make_turn(now);
  turn.is_state_dirty = true;
  if (!is_restored_) {
    started_at_ = turn.now;
    entered_state_at_ = turn.now;
  }
  if (state_ == ServiceState::Preparing) {
    if (plan_.has_network) {
      turn.actions.push_back(CreateNetwork{});
    } else {
      transition(ServiceEvent::Prepared, turn);
    }
  }
  if (is_restored_) resume(turn);
  settle(turn);
  return finish_turn();
}

void ServiceRun::resume(Turn& turn) {
  turn.report(EventKind::SupervisorRestarted, Report::Level::Debug,
              "a new supervisor has taken over");
  for (const PastGeneration& past : std::exchange(past_generations_, {})) {
    if (past.is_alive) turn.actions.push_back(KillCgroup{past.child, past.generation});
    turn.actions.push_back(ReleaseGeneration{past.child, past.generation});
  }
  for (Child& child : children_) child.resume(turn);
  for (const auto& [slot, plan] : std::exchange(reclaimed_, {})) {
    if (is_stopping(state_)) break;
    Child& child = children_[slot];
    if (child.state() == ChildState::Completed && plan.role == Role::Init) {
      child.set_membership(Membership::Member);  // its work is done, whatever the file says
      child.take_plan(plan, turn);
    } else if (child.is_vacant()) {
      child.occupy(plan, Membership::Member, turn);
    } else {
      child.set_membership(Membership::Member);
      child.set_next_plan(plan, turn);
      child.revive(turn);
    }
  }
  refresh_plan();
  if (state_ == ServiceState::Draining || state_ == ServiceState::StoppingHelpers) {
    // Hooks that were under way are run again: at least once, not exactly once.
    for (Child& child : children_) child.begin_stop(turn);
  }
  resume_deploy(turn);
  if (state_ == ServiceState::CleaningUp) turn.actions.push_back(RemoveNetwork{});
  if (state_ == ServiceState::Stopped) finish(turn);
  turn.actions.push_back(PublishReadiness{is_ready_published_ = is_ready()});
}

Actions ServiceRun::handle(const Event& event, MonotonicTime now) {
  if (is_finished_) return {};
  Turn turn = make_turn_after_wait(now);
  std::visit([&](const auto& fact) { on_event(fact, turn); }, event);
  settle(turn);
  return finish_turn();
}

Actions ServiceRun::advance(MonotonicTime now) {
  if (is_finished_) return {};
  Turn turn = make_turn_after_wait(now);
  settle(turn);
  return finish_turn();
}

void ServiceRun::refuse(Turn& turn, const std::string& what, const std::string& reason) {
  turn.report(EventKind::RequestRefused, Report::Level::Warning,
              fmt::format("cannot {}: {}", what, reason), {{"reason", reason}});
}

void ServiceRun::on_event(const NetworkCreated&, Turn& turn) {
  transition(ServiceEvent::Prepared, turn);
}

void ServiceRun::on_event(const NetworkFailed& event, Turn& turn) {
  if (is_stopping(state_) || state_ == ServiceState::Running) return;
  turn.report(EventKind::SetupFailed, Report::Level::Error,
              "cannot set up the service: " + event.reason, {{"reason", event.reason}});
  request_stop(turn, plan_.stop_grace, "set-up failed: " + event.reason, 71);
}

void ServiceRun::on_event(const NetworkRemoved&, Turn& turn) {
  transition(ServiceEvent::CleanedUp, turn);
}

void ServiceRun::on_event(const CaptureLive&, Turn& turn) {
  if (capture_ != Capture::Requested) return;
  capture_ = Capture::Live;
  turn.is_state_dirty = true;
}

void ServiceRun::on_event(const CaptureFailed& event, Turn& turn) {
  if (capture_ != Capture::Requested || is_stopping(state_)) return;
  capture_ = Capture::Off;
  turn.report(EventKind::SetupFailed, Report::Level::Error,
              "cannot capture traffic: " + event.reason, {{"reason", event.reason}});
  request_stop(turn, plan_.stop_grace, "capture failed: " + event.reason, 71);
}

// Facts and wishes about one child.
template<class ChildEvent>
void ServiceRun::on_event(const ChildEvent& event, Turn& turn) {
  if (event.child >= children_.size()) return;
  Child& child = children_[event.child];
  constexpr bool is_wish = std::is_same_v<ChildEvent, RestartRequested> ||
                           std::is_same_v<ChildEvent, RetryRequested> ||
                           std::is_same_v<ChildEvent, StartChildRequested> ||
                           std::is_same_v<ChildEvent, StopChildRequested>;
  if constexpr (is_wish) {
    if (child.is_vacant()) return;
    if (is_stopping(state_) || !child.is_member()) {
      refuse(turn, "do that to " + child.plan().name,
             child.is_member() ? "the service stops" : "it is about to go, or part of a deploy");
      return;
    }
  }
  child.on_event(event, turn);
}

bool ServiceRun::transition(ServiceEvent event, Turn& turn) {
  const ServiceRow* row = next(state_, event);
  if (!row) return false;
  if (state_ != row->to) entered_state_at_ = turn.now;
  state_ = row->to;
  turn.is_state_dirty = true;
  turn.is_service_stopping = is_stopping(state_);
  perform(row->effect, turn);
  return true;
}

void ServiceRun::perform(ServiceEffect effect, Turn& turn) {
  switch (effect) {
    case ServiceEffect::None: return;
    case ServiceEffect::StartChildren:
      turn.report(EventKind::ServiceStarting, Report::Level::Debug, "starting the children");
      return;
    case ServiceEffect::BeginStop: begin_stop(turn); return;
    case ServiceEffect::SkipDelays: stop_->are_delays_skipped = true; return;
    case ServiceEffect::StopHelpers: stop_->app_gone_at = turn.now; return;
    case ServiceEffect::Overrun: overrun(turn); return;
    case ServiceEffect::KillChildren: kill_children(turn); return;
    case ServiceEffect::CleanUp:
      stop_->all_gone_at = turn.now;
      // A service that never got as far as a network may still have a part of one.
      if (plan_.has_network) turn.actions.push_back(RemoveNetwork{});
      return;
    case ServiceEffect::Finish: finish(turn); return;
    case ServiceEffect::Rewind: rewind(turn); return;
  }
}

void ServiceRun::settle(Turn& turn) {
  for (int round = 0; settle_once(turn); ++round) {
    PILLION_ASSERT(round < kRoundsMax);
    if (std::exchange(turn.has_plan_changed, false)) refresh_plan();
  }
  if (is_finished_) return;
  for (Child& child : children_) child.report_readiness(turn);
  settle_readiness(turn);
}

bool ServiceRun::settle_once(Turn& turn) {
  turn.is_service_stopping = is_stopping(state_);
  turn.has_app_started = has_app_started_;
  turn.stop_deadline = stop_ ? std::optional(stop_->deadline) : std::nullopt;
  bool is_changed = false;
  for (Child& child : children_) is_changed |= child.settle(turn);
  switch (state_) {
    case ServiceState::Preparing: return is_changed;
    case ServiceState::Starting:
    case ServiceState::Running:
      return settle_outcomes(turn) || settle_restart_all(turn) || settle_deploy(turn) ||
             settle_reload(turn) || settle_capture(turn) || settle_starts(turn) || is_changed;
    case ServiceState::Draining: return settle_draining(turn) || is_changed;
    case ServiceState::StoppingHelpers: return settle_helpers(turn) || is_changed;
    case ServiceState::Killing: return (are_all_gone() && settle_all_gone(turn)) || is_changed;
    case ServiceState::CleaningUp:
      if (!plan_.has_network || turn.now >= entered_state_at_ + kCleanUpTimeout) {
        return transition(ServiceEvent::CleanedUp, turn);
      }
      return is_changed;
    case ServiceState::Stopped: return false;
  }
  return false;
}

std::optional<MonotonicTime> ServiceRun::next_wakeup() const {
  if (is_finished_) return {};
  std::optional<MonotonicTime> earliest;
  const auto consider = [&](std::optional<MonotonicTime> time) {
    if (time && (!earliest || *time < *earliest)) earliest = time;
  };
  for (const Child& child : children_) consider(child.next_wakeup());
  if (state_ == ServiceState::CleaningUp) consider(entered_state_at_ + kCleanUpTimeout);
  if (state_ == ServiceState::Running) consider(deploy_wakeup());
  if (stop_ && stop_->restart_at && are_all_gone()) {
    consider(stop_->restart_at);
    return earliest;
  }
  if (state_ != ServiceState::Draining && state_ != ServiceState::StoppingHelpers) return earliest;
  consider(stop_->deadline);
  if (state_ == ServiceState::Draining && app_stop_at() > latest_) consider(app_stop_at());
  for (const Child& child : children_) {
    if (child.is_unsignalled() && cutoff(child) > latest_) consider(cutoff(child));
  }
  return earliest;
}

}  // namespace pillion::supervisor::core
