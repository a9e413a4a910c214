// What others want of a child: the stop of the service, an operator, a new plan.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "supervisor/core/child.h"

namespace pillion::supervisor::core {

void Child::begin_stop(Turn& turn) {
  if (liveness_) liveness_->stop(id_, generation_, turn.actions);
  facts_.watchdog_at.reset();
  if (!is_helper()) desired_ = Desired::Down;
  const bool has_hook_to_run = state_ == ChildState::PostStart || state_ == ChildState::Gating ||
                               state_ == ChildState::Running || state_ == ChildState::PreStop;
  if (has_hook_to_run) {
    run_pre_stop(turn, turn.stop_deadline.value_or(turn.now + turn.stop_grace));
  } else {
    pre_stop_ = HookProgress::Done;
  }
}

void Child::stop(Turn& turn, MonotonicTime kill_at) {
  desired_ = Desired::Down;
  cancel_pre_stop(turn);
  transition(ChildEvent::StopTurn, turn, kill_at);
}

void Child::kill(Turn& turn) {
  desired_ = Desired::Down;
  cancel_pre_stop(turn);
  transition(ChildEvent::Kill, turn);
}

bool Child::is_unsignalled() const {
  return state_ == ChildState::Spawning || state_ == ChildState::PostStart ||
         state_ == ChildState::Gating || state_ == ChildState::Running ||
         state_ == ChildState::PreStop;
}

void Child::replace(Turn& turn, std::string reason, bool counts_as_failure,
                    std::optional<Duration> grace) {
  if (!next(state_, ChildEvent::Replace)) return;
  report(turn, counts_as_failure ? EventKind::ChildUnhealthy : EventKind::ChildReplacing,
         counts_as_failure ? Report::Level::Warning : Report::Level::Info,
         fmt::format("{}: {}; replacing generation {}", plan_.name, reason, generation_),
         {{"reason", reason}});
  facts_.replace_reason = std::move(reason);
  facts_.is_replaced_by_wish = !counts_as_failure;
  std::optional<MonotonicTime> kill_at = turn.now + grace.value_or(turn.stop_grace);
  if (turn.stop_deadline) kill_at = std::min(*kill_at, *turn.stop_deadline);
  transition(ChildEvent::Replace, turn, kill_at);
}

void Child::hold(Turn& turn, std::string reason, std::optional<Duration> grace) {
  desired_ = Desired::Down;
  turn.is_state_dirty = true;
  const Duration allowed = grace.value_or(turn.stop_grace);
  const MonotonicTime kill_at = turn.now + std::max(allowed, Duration::zero());
  if (allowed <= Duration::zero()) {
    cancel_pre_stop(turn);
    transition(ChildEvent::Kill, turn);
  } else if (state_ == ChildState::PreStop) {
    if (deadline_) deadline_ = std::min(*deadline_, kill_at);
  } else if (next(state_, ChildEvent::Replace)) {
    facts_.replace_reason = std::move(reason);
    facts_.is_replaced_by_wish = true;
    transition(ChildEvent::Replace, turn, kill_at);
  } else {
    transition(ChildEvent::StopTurn, turn, kill_at);
  }
}

void Child::forget_failures() {
  failures_in_a_row_ = 0;
  recent_restarts_.clear();
  rest_reason_ = RestReason::None;
  failure_reason_.clear();
  cannot_start_code_.reset();
}

void Child::revive(Turn& turn) {
  // One that is just being ended for good starts again at once; one that ends by itself has its own
  // reasons, and an init task may have done its work.
  const bool is_being_ended = is_alive(state_) && desired_ == Desired::Down;
  facts_.is_replaced_by_wish |= is_being_ended;
  desired_ = Desired::Up;
  turn.is_state_dirty = true;
  forget_failures();
  transition(ChildEvent::Retry, turn);
}

std::optional<Duration> Child::take_restart_all() {
  if (!std::exchange(wants_restart_all_, false)) return {};
  return next_delay_;
}

void Child::take_plan(const ChildPlan& plan, Turn& turn) {
  renew_probes(plan, turn);
  const bool has_watchdog_changed = plan_.watchdog != plan.watchdog;
  plan_ = plan;
  next_plan_.reset();
  turn.has_plan_changed = true;
  failures_in_a_row_ = 0;
  recent_restarts_.clear();
  turn.is_state_dirty = true;
  if (state_ == ChildState::Running && has_watchdog_changed && !turn.is_service_stopping) {
    facts_.watchdog_at = plan_.watchdog ? std::optional(turn.now + *plan_.watchdog) : std::nullopt;
  }
  if (state_ == ChildState::Gating) open_gate(turn);
  const bool has_failed = state_ == ChildState::Backoff || state_ == ChildState::Failed;
  if (has_failed && desired_ == Desired::Up && !turn.is_service_stopping) revive(turn);
}

void Child::set_next_plan(const ChildPlan& plan, Turn& turn) {
  turn.is_state_dirty = true;
  next_plan_ = plan;
  if (!is_alive(state_)) take_next_plan(turn);
}

void Child::take_next_plan(Turn& turn) {
  turn.actions.push_back(UsePlan{id_, membership_ == Membership::Candidate});
  starts_afresh_ = true;
  const ChildPlan plan = *next_plan_;  // take_plan() lets go of it
  take_plan(plan, turn);
  // Another program may have work to do where the old one had none left.
  if (state_ == ChildState::Completed && plan_.role != Role::Init) revive(turn);
}

void Child::set_dependencies(const ChildPlan& plan) {
  plan_.dependencies = plan.dependencies;
  plan_.after = plan.after;
}

void Child::occupy(const ChildPlan& plan, Membership membership, Turn& turn) {
  membership_ = membership;
  has_started_once_ = false;
  restarts_ = 0;
  last_exit_.reset();
  receipt_.clear();
  was_killed_ = false;
  starts_afresh_ = true;
  turn.actions.push_back(UsePlan{id_, membership == Membership::Candidate});
  take_plan(plan, turn);
  revive(turn);
}

void Child::rewind(Turn& turn, bool keeps_failures) {
  if (next_plan_) take_next_plan(turn);
  has_started_once_ = false;
  last_exit_.reset();
  receipt_.clear();
  was_killed_ = false;
  const unsigned failures = failures_in_a_row_;
  const auto restarts = recent_restarts_;
  revive(turn);
  if (!keeps_failures) return;
  failures_in_a_row_ = failures;
  recent_restarts_ = restarts;
}

void Child::raise_generation(Generation generation) {
  generation_ = std::max(generation_, generation);
}

void Child::on_event(const RestartRequested&, Turn& turn) {
  if (turn.is_service_stopping) return;
  if (next(state_, ChildEvent::Replace)) {
    desired_ = Desired::Up;
    forget_failures();
    replace(turn, "restart requested", false);
  } else {
    on_event(StartChildRequested{id_}, turn);
  }
}

void Child::on_event(const RetryRequested&, Turn& turn) {
  if (turn.is_service_stopping) return;
  if (state_ == ChildState::Backoff || state_ == ChildState::Failed) revive(turn);
}

void Child::on_event(const StopChildRequested& event, Turn& turn) {
  if (turn.is_service_stopping) return;
  report(turn, EventKind::ChildReplacing, Report::Level::Info,
         fmt::format("{}: asked to stop", plan_.name), {{"reason", "stop requested"}});
  hold(turn, "stop requested", event.grace);
}

void Child::on_event(const StartChildRequested&, Turn& turn) {
  if (turn.is_service_stopping) return;
  if (plan_.role == Role::Init && state_ == ChildState::Completed) {
    report(turn, EventKind::RequestRefused, Report::Level::Warning,
           fmt::format("{} is an init task and has finished; only a restart of the service runs "
                       "it again",
                       plan_.name),
           {{"reason", "a finished init task"}});
    return;
  }
  revive(turn);
}

}  // namespace pillion::supervisor::core
