// Transitions of a child and what each of them does; the facts that lead to them are taken in by
// child_events.cc, what follows an end is decided in child_end.cc, what others want of a child is
// in child_wishes.cc, gates and probes are in child_health.cc.
#include "supervisor/core/child.h"

#include <fmt/format.h>

#include <algorithm>

namespace pillion::supervisor::core {

namespace {

void keep_earliest(std::optional<MonotonicTime>& earliest, std::optional<MonotonicTime> candidate) {
  if (candidate && (!earliest || *candidate < *earliest)) earliest = candidate;
}

auto milliseconds_of(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

Child::Child(ChildId id, const ChildPlan& plan) : id_(id), plan_(plan) {
  if (plan.startup_probe) startup_.emplace(ProbeKind::Startup, *plan.startup_probe);
  if (plan.readiness_probe) readiness_.emplace(ProbeKind::Readiness, *plan.readiness_probe);
  if (plan.liveness_probe) liveness_.emplace(ProbeKind::Liveness, *plan.liveness_probe);
}

bool Child::transition(ChildEvent event, Turn& turn, std::optional<MonotonicTime> kill_at) {
  const ChildRow* row = next(state_, event);
  if (!row) return false;
  const bool is_same_state = row->to == state_;
  state_ = row->to;
  turn.is_state_dirty = true;
  if (!is_same_state) {
    entered_state_at_ = turn.now;
    deadline_.reset();
    report_state(turn);
  }
  perform(row->effect, turn, kill_at);
  return true;
}

void Child::perform(ChildEffect effect, Turn& turn, std::optional<MonotonicTime> kill_at) {
  switch (effect) {
    case ChildEffect::None: return;
    case ChildEffect::Spawn: begin_generation(turn); return;
    case ChildEffect::RunPostStart:
      deadline_ = start_deadline();
      facts_.is_post_start_done = !plan_.post_start;
      if (plan_.post_start) {
        turn.actions.push_back(
            RunHook{id_, generation_, HookKind::PostStart, plan_.post_start->timeout});
      }
      return;
    case ChildEffect::OpenGate: open_gate(turn); return;
    case ChildEffect::Started:
      has_started_once_ = true;
      starts_afresh_ = false;
      start_probes(turn);
      if (turn.is_service_stopping && plan_.is_proxy) {
        turn.actions.push_back(BeginDrain{id_, generation_});
      }
      return;
    case ChildEffect::RunPreStop:
      deadline_ = kill_at.value_or(turn.now + turn.stop_grace);
      if (turn.stop_deadline) deadline_ = std::min(*deadline_, *turn.stop_deadline);
      stop_probes(turn, true);
      cancel_post_start(turn);
      run_pre_stop(turn, *deadline_);
      if (plan_.is_proxy && !turn.is_service_stopping && is_ready_reported_) begin_drain(turn);
      return;
    case ChildEffect::SignalStop:
      deadline_ = kill_at.value_or(turn.now + turn.stop_grace);
      stop_probes(turn, true);
      cancel_post_start(turn);
      turn.actions.push_back(SendSignal{id_, generation_, plan_.stop_signal});
      return;
    case ChildEffect::Tighten:
      if (kill_at && (!deadline_ || *kill_at < *deadline_)) deadline_ = kill_at;
      return;
    case ChildEffect::KillAll:
      was_killed_ = was_killed_ || (turn.is_service_stopping && !facts_.is_main_gone);
      deadline_ = turn.now + kKillConfirmation;
      stop_probes(turn, false);
      cancel_post_start(turn);
      turn.actions.push_back(KillCgroup{id_, generation_});
      return;
    case ChildEffect::ClearLeftovers: clear_leftovers(turn); return;
    case ChildEffect::ArmBackoff:
      deadline_ = turn.now + next_delay_;
      report(turn, EventKind::ChildBackoff, Report::Level::Debug,
             fmt::format("{} starts again in {} ms", plan_.name, milliseconds_of(next_delay_)),
             {{"delay_ms", std::to_string(milliseconds_of(next_delay_))},
              {"failures", std::to_string(failures_in_a_row_)}});
      return;
    case ChildEffect::GiveUp:
      report(turn, EventKind::ChildGaveUp, Report::Level::Error,
             fmt::format("{}: {}", plan_.name, failure_reason_), {{"reason", failure_reason_}});
      return;
  }
}

void Child::begin_generation(Turn& turn) {
  ++generation_;
  facts_ = {};
  for (auto* probe : {&startup_, &readiness_, &liveness_}) {
    if (*probe) (*probe)->forget();
  }
  rest_reason_ = RestReason::None;
  cannot_start_code_.reset();
  status_text_.clear();
  pre_stop_ = turn.is_service_stopping ? HookProgress::Done : HookProgress::NotRun;
  deadline_ = turn.now + kSpawnTimeout;
  report(turn, EventKind::ChildSpawning, Report::Level::Debug,
         fmt::format("{} starts (generation {})", plan_.name, generation_));
  turn.actions.push_back(core::Spawn{id_, generation_});
}

void Child::run_pre_stop(Turn& turn, MonotonicTime until) {
  if (pre_stop_ == HookProgress::Running) return;
  const Duration timeout =
      plan_.pre_stop ? std::min(plan_.pre_stop->timeout, until - turn.now) : Duration::zero();
  if (pre_stop_ == HookProgress::Done || timeout <= Duration::zero()) {
    pre_stop_ = HookProgress::Done;
    return;
  }
  pre_stop_ = HookProgress::Running;
  hook_lost_at_ = turn.now + timeout + std::chrono::seconds(1);
  turn.is_state_dirty = true;
  report(turn, EventKind::PreStopStarted, Report::Level::Debug,
         fmt::format("{}: pre_stop hook runs (generation {})", plan_.name, generation_));
  turn.actions.push_back(RunHook{id_, generation_, HookKind::PreStop, timeout});
}

// A proxy that serves is replaced: clients with a connection to it learn from their next answer
// that it closes, instead of finding it closed.
void Child::begin_drain(Turn& turn) {
  turn.actions.push_back(BeginDrain{id_, generation_});
  if (pre_stop_ == HookProgress::Running) return;
  pre_stop_ = HookProgress::Running;
  hook_lost_at_ = turn.now + kReplacementDrain;
}

void Child::cancel_post_start(Turn& turn) {
  if (!plan_.post_start || facts_.is_post_start_done || !facts_.exec_at) return;
  facts_.is_post_start_done = true;
  turn.actions.push_back(CancelHook{id_, generation_, HookKind::PostStart});
}

void Child::cancel_pre_stop(Turn& turn) {
  if (pre_stop_ == HookProgress::Running && plan_.pre_stop) {
    turn.actions.push_back(CancelHook{id_, generation_, HookKind::PreStop});
  }
  pre_stop_ = HookProgress::Done;
}

void Child::clear_leftovers(Turn& turn) {
  stop_probes(turn, false);
  cancel_post_start(turn);
  if (!facts_.has_leftovers) return;
  if (turn.stop_deadline && turn.now >= *turn.stop_deadline) {
    deadline_ = turn.now;  // no time left for them
    return;
  }
  deadline_ = turn.now + kLeftoverGrace;
  turn.actions.push_back(SendSignal{id_, generation_, 15, SignalTarget::Leftovers});
}

void Child::report(Turn& turn, EventKind kind, Report::Level level, std::string text,
                   ReportFields fields) const {
  turn.actions.push_back(
      Report{level, std::move(text), kind, plan_.name, generation_, std::move(fields)});
}

// What a timeline shows of every change of state.
void Child::report_state(Turn& turn) const {
  const auto tell = [&](EventKind kind, Report::Level level, const char* what,
                        ReportFields fields = {}) {
    report(turn, kind, level, fmt::format("{} {} (generation {})", plan_.name, what, generation_),
           std::move(fields));
  };
  switch (state_) {
    case ChildState::Running:
      tell(EventKind::ChildStarted, Report::Level::Debug, "has started");
      return;
    case ChildState::Stopping:
      tell(EventKind::ChildStopping, Report::Level::Debug, "is sent its stop signal",
           {{"signal", std::to_string(plan_.stop_signal)}});
      return;
    case ChildState::Killing:
    case ChildState::Clearing:
      tell(EventKind::ChildKilled, Report::Level::Warning, "is killed");
      return;
    case ChildState::Completed:
      tell(EventKind::ChildCompleted, Report::Level::Debug, "has finished its work");
      return;
    case ChildState::Stopped:
      tell(EventKind::ChildStopped, Report::Level::Debug, "is down");
      return;
    case ChildState::Stuck:
      tell(EventKind::ChildStuck, Report::Level::Error, "does not end, not even by SIGKILL");
      return;
    default: return;
  }
}

bool Child::settle(Turn& turn) {
  if (deadline_ && turn.now >= *deadline_ && settle_deadline(turn)) return true;
  if (state_ == ChildState::PostStart && facts_.is_post_start_done) {
    return transition(ChildEvent::PostStartDone, turn);
  }
  if (state_ == ChildState::Gating && is_gate_open()) {
    return transition(ChildEvent::GatePassed, turn);
  }
  if (startup_ && startup_->verdict() == ProbeSchedule::Verdict::Success) {
    startup_->stop(id_, generation_, turn.actions);  // once is enough, also before another gate
  }
  for (auto* probe : {&startup_, &readiness_, &liveness_}) {
    if (*probe) (*probe)->advance(id_, generation_, turn.now, turn.actions);
  }
  return settle_health(turn) || settle_hook(turn) || settle_end(turn);
}

bool Child::settle_deadline(Turn& turn) {
  deadline_.reset();
  if (state_ == ChildState::PreStop) {
    // The hook has eaten the whole grace; Kubernetes' extension of two seconds is left.
    cancel_pre_stop(turn);
    return transition(ChildEvent::Timeout, turn, turn.now + kLeftoverGrace);
  }
  if (state_ == ChildState::PostStart || state_ == ChildState::Gating) {
    facts_.replace_reason = fmt::format("has not started within {} s ({})",
                                        std::chrono::duration_cast<std::chrono::seconds>(
                                            turn.now - facts_.exec_at.value_or(entered_state_at_))
                                            .count(),
                                        gate_progress());
    report(turn, EventKind::ChildUnhealthy, Report::Level::Warning,
           fmt::format("{} {}; replacing it", plan_.name, facts_.replace_reason),
           {{"reason", facts_.replace_reason}});
  }
  return transition(ChildEvent::Timeout, turn);
}

// A hook that the host never reports on must not hold the stop.
bool Child::settle_hook(Turn& turn) {
  if (state_ == ChildState::PreStop && pre_stop_ == HookProgress::Done) {
    const MonotonicTime least = turn.now + kLeftoverGrace;
    return transition(ChildEvent::PreStopDone, turn, std::max(deadline_.value_or(least), least));
  }
  if (pre_stop_ != HookProgress::Running || !hook_lost_at_ || turn.now < *hook_lost_at_) {
    return false;
  }
  if (plan_.pre_stop) {
    report(turn, EventKind::HookFailed, Report::Level::Warning,
           fmt::format("{}: pre_stop hook timed out", plan_.name),
           {{"hook", "pre_stop"}, {"reason", "timed out"}});
  }
  cancel_pre_stop(turn);
  turn.is_state_dirty = true;
  return true;
}

std::optional<MonotonicTime> Child::next_wakeup() const {
  std::optional<MonotonicTime> earliest = deadline_;
  for (const auto* probe : {&startup_, &readiness_, &liveness_}) {
    if (*probe) keep_earliest(earliest, (*probe)->next_wakeup());
  }
  if (state_ == ChildState::Running) keep_earliest(earliest, facts_.watchdog_at);
  if (pre_stop_ == HookProgress::Running) keep_earliest(earliest, hook_lost_at_);
  return earliest;
}

}  // namespace pillion::supervisor::core
