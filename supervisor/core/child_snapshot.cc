// A child's memory as a value and back, for a supervisor that starts again under running children.
#include <algorithm>

#include "supervisor/core/boot_times.h"
#include "supervisor/core/child.h"

namespace pillion::supervisor::core {

ChildSnapshot Child::snapshot(MonotonicTime now, Duration boot_now) const {
  const BootTimes times(now, boot_now);
  ChildSnapshot out;
  out.name = plan_.name;
  out.state = state_;
  out.desired = desired_;
  out.generation = generation_;
  out.entered_state_at = times.to_boot(entered_state_at_);
  out.state_deadline = times.to_boot(deadline_);

  out.pid = facts_.pid;
  out.exec_at = times.to_boot(facts_.exec_at);
  out.is_post_start_done = facts_.is_post_start_done;
  out.is_gate_seen = facts_.is_gate_seen;
  out.has_announced_stop = facts_.has_announced_stop;
  out.is_main_gone = facts_.is_main_gone;
  out.has_leftovers = facts_.has_leftovers;
  out.is_readiness_good = readiness_ && readiness_->verdict() == ProbeSchedule::Verdict::Success;
  out.is_hook_done = pre_stop_ == HookProgress::Done;
  out.is_replaced_by_wish = facts_.is_replaced_by_wish;
  out.exit = facts_.exit;
  out.replace_reason = facts_.replace_reason;
  out.spawn_error = facts_.spawn_error;
  out.spawn_exit_code = facts_.spawn_exit_code;

  out.has_started_once = has_started_once_;
  out.restarts = restarts_;
  out.failures_in_a_row = failures_in_a_row_;
  for (const MonotonicTime at : recent_restarts_) out.recent_restarts.push_back(times.to_boot(at));
  out.last_exit = last_exit_;
  out.cannot_start_code = cannot_start_code_;
  out.rest_reason = static_cast<int>(rest_reason_);
  out.failure_reason = failure_reason_;
  out.status_text = status_text_;
  out.receipt = receipt_;
  out.was_killed = was_killed_;
  out.starts_afresh = starts_afresh_;
  out.membership = static_cast<int>(membership_);
  out.is_outdated = next_plan_.has_value();
  out.role = static_cast<int>(plan_.role);
  out.stop_signal = plan_.stop_signal;
  out.dependencies = plan_.dependencies;
  if (startup_) out.startup = startup_->snapshot(times);
  if (readiness_) out.readiness = readiness_->snapshot(times);
  if (liveness_) out.liveness = liveness_->snapshot(times);
  return out;
}

ChildPlan Child::kept_plan(const ChildSnapshot& in) {
  ChildPlan plan;
  plan.name = in.name;
  plan.role = static_cast<Role>(in.role);
  plan.stop_signal = in.stop_signal;
  plan.dependencies = in.dependencies;
  return plan;
}

void Child::restore(const ChildSnapshot& in, MonotonicTime now, Duration boot_now) {
  const BootTimes times(now, boot_now);
  state_ = in.state;
  desired_ = in.desired;
  generation_ = in.generation;
  entered_state_at_ = std::min(times.from_boot(in.entered_state_at), now);
  deadline_ = times.from_boot(in.state_deadline);

  facts_.pid = in.pid;
  facts_.exec_at = times.from_boot(in.exec_at);
  facts_.is_post_start_done = in.is_post_start_done;
  facts_.is_gate_seen = in.is_gate_seen;
  facts_.has_announced_stop = in.has_announced_stop;
  facts_.is_main_gone = in.is_main_gone;
  facts_.has_leftovers = in.has_leftovers;
  facts_.is_replaced_by_wish = in.is_replaced_by_wish;
  facts_.exit = in.exit;
  facts_.replace_reason = in.replace_reason;
  facts_.spawn_error = in.spawn_error;
  facts_.spawn_exit_code = in.spawn_exit_code;
  pre_stop_ = in.is_hook_done ? HookProgress::Done : HookProgress::NotRun;
  if (startup_ && in.startup) startup_->restore(*in.startup, times, now);
  if (liveness_ && in.liveness) liveness_->restore(*in.liveness, times, now);
  if (readiness_ && in.readiness) {
    readiness_->restore(*in.readiness, times, now);
  } else if (readiness_ && in.is_readiness_good && state_ == ChildState::Running) {
    readiness_->start(now, ProbeSchedule::Verdict::Success);
  }

  has_started_once_ = in.has_started_once;
  restarts_ = in.restarts;
  failures_in_a_row_ = in.failures_in_a_row;
  for (const Duration at : in.recent_restarts) recent_restarts_.push_back(times.from_boot(at));
  last_exit_ = in.last_exit;
  cannot_start_code_ = in.cannot_start_code;
  rest_reason_ = static_cast<RestReason>(in.rest_reason);
  failure_reason_ = in.failure_reason;
  status_text_ = in.status_text;
  receipt_ = in.receipt;
  was_killed_ = in.was_killed;
  starts_afresh_ = in.starts_afresh;
  membership_ = static_cast<Membership>(in.membership);
}

void Child::adopt(const Survivor* survivor) {
  const bool has_process = is_alive(state_) && !facts_.is_main_gone;
  if (survivor && has_process && survivor->generation == generation_) {
    facts_.pid = survivor->pid;
    if (!survivor->exited) return;
    facts_.is_main_gone = true;
    facts_.exit = survivor->exited;
    facts_.has_leftovers = survivor->has_leftovers;
    return;
  }
  if (survivor && !survivor->exited && survivor->generation != generation_) {
    stranger_ = survivor->generation;
    generation_ = std::max(generation_, survivor->generation);
  }
  if (survivor && survivor->generation == generation_ && is_alive(state_)) {
    // We knew that its main process is gone; a host that calls it alive has seen what it left.
    facts_.has_leftovers = survivor->has_leftovers || !survivor->exited;
    return;
  }
  if (!is_alive(state_)) return;
  // The host knows nothing of it. A spawn that was ordered and never carried out is no failure.
  if (state_ == ChildState::Spawning) facts_.is_replaced_by_wish = true;
  facts_.is_main_gone = true;
  facts_.has_leftovers = false;
  if (!facts_.exit && facts_.exec_at) facts_.exit = ExitStatus{};
}

// Probes go on where they were; one that was not known yet begins.
void Child::resume_probes(Turn& turn) {
  if (startup_) startup_->stop(id_, generation_, turn.actions);
  if (readiness_ && !readiness_->is_active()) readiness_->start(turn.now);
  if (readiness_) readiness_->spread(turn.now, turn.random);
  is_ready_reported_ = is_ready();
  if (turn.is_service_stopping) {
    if (liveness_) liveness_->stop(id_, generation_, turn.actions);
    return;
  }
  if (liveness_ && !liveness_->is_active()) liveness_->start(turn.now);
  if (liveness_) liveness_->spread(turn.now, turn.random);
  if (plan_.watchdog) facts_.watchdog_at = turn.now + *plan_.watchdog;
}

void Child::resume(Turn& turn) {
  if (stranger_) turn.actions.push_back(KillCgroup{id_, *stranger_});
  if (!is_alive(state_)) return;
  if (facts_.is_main_gone) {
    const bool knew = state_ == ChildState::Ending || state_ == ChildState::Clearing;
    if (!knew) {
      transition(ChildEvent::MainExited, turn);
      return;
    }
  }
  switch (state_) {
    case ChildState::Spawning:
      facts_.exec_at = turn.now;
      transition(ChildEvent::ExecConfirmed, turn);
      return;
    case ChildState::PostStart:
      if (plan_.post_start && !facts_.is_post_start_done) {
        turn.actions.push_back(
            RunHook{id_, generation_, HookKind::PostStart, plan_.post_start->timeout});
      }
      return;
    case ChildState::PreStop: run_pre_stop(turn, deadline_.value_or(turn.now)); return;
    case ChildState::Gating: {
      const auto deadline = deadline_;
      if (startup_) startup_->spread(turn.now, turn.random);
      open_gate(turn);
      deadline_ = deadline;
      return;
    }
    case ChildState::Running:
      resume_probes(turn);
      if (turn.is_service_stopping && plan_.is_proxy) {
        turn.actions.push_back(BeginDrain{id_, generation_});
      }
      return;
    case ChildState::Stopping:
      turn.actions.push_back(SendSignal{id_, generation_, plan_.stop_signal});
      return;
    case ChildState::Ending:
      if (facts_.has_leftovers) {
        turn.actions.push_back(SendSignal{id_, generation_, 15, SignalTarget::Leftovers});
      }
      return;
    case ChildState::Killing:
    case ChildState::Clearing:
    case ChildState::Stuck: turn.actions.push_back(KillCgroup{id_, generation_}); return;
    default: return;
  }
}

}  // namespace pillion::supervisor::core
