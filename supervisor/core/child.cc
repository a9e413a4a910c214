// Transitions of a child and what each of them does; the facts that lead to them are taken in by
// child_events.cc, what follows an end is decided in child_end.cc. perform() is longer than a
// function may be because it has one case for each effect.
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
  }
  perform(row->effect, turn, kill_at);
  return true;
}

void Child::perform(ChildEffect effect, Turn& turn, std::optional<MonotonicTime> kill_at) {
  switch (effect) {
    case ChildEffect::None: return;
    case ChildEffect::Spawn:
      ++generation_;
      facts_ = {};
      rest_reason_ = RestReason::None;
      status_text_.clear();
      pre_stop_ = turn.is_service_stopping ? HookProgress::Done : HookProgress::NotRun;
      deadline_ = turn.now + kSpawnTimeout;
      report(turn, EventKind::ChildSpawning, Report::Level::Debug,
             fmt::format("{} starts (generation {})", plan_.name, generation_));
      turn.actions.push_back(core::Spawn{id_, generation_});
      return;
    case ChildEffect::RunPostStart:
      deadline_ = start_deadline();
      if (!plan_.post_start) {
        facts_.is_post_start_done = true;
      } else {
        turn.actions.push_back(
            RunHook{id_, generation_, HookKind::PostStart, plan_.post_start->timeout});
      }
      return;
    case ChildEffect::OpenGate: open_gate(turn); return;
    case ChildEffect::Started:
      has_started_once_ = true;
      report(turn, EventKind::ChildStarted, Report::Level::Debug,
             fmt::format("{} has started (generation {})", plan_.name, generation_));
      start_probes(turn, ProbeSchedule::Verdict::Unknown);
      if (turn.is_service_stopping && plan_.is_proxy) {
        turn.actions.push_back(BeginDrain{id_, generation_});
      }
      return;
    case ChildEffect::SignalStop:
      deadline_ = kill_at.value_or(turn.now + turn.stop_grace);
      stop_probes(turn, true);
      if (plan_.post_start && !facts_.is_post_start_done && facts_.exec_at) {
        turn.actions.push_back(CancelHook{id_, generation_, HookKind::PostStart});
      }
      turn.actions.push_back(SendSignal{id_, generation_, plan_.stop_signal});
      report(turn, EventKind::ChildStopping, Report::Level::Debug,
             fmt::format("{} was sent its stop signal (generation {})", plan_.name, generation_),
             {{"signal", std::to_string(plan_.stop_signal)}});
      return;
    case ChildEffect::Tighten:
      if (kill_at && (!deadline_ || *kill_at < *deadline_)) deadline_ = kill_at;
      return;
    case ChildEffect::KillAll:
      was_killed_ = was_killed_ || (turn.is_service_stopping && !facts_.is_main_gone);
      deadline_ = turn.now + kKillConfirmation;
      stop_probes(turn, false);
      turn.actions.push_back(KillCgroup{id_, generation_});
      report(turn, EventKind::ChildKilled, Report::Level::Warning,
             fmt::format("{} is killed (generation {})", plan_.name, generation_));
      return;
    case ChildEffect::ClearLeftovers:
      stop_probes(turn, false);
      if (!facts_.has_leftovers) return;
      if (turn.stop_deadline && turn.now >= *turn.stop_deadline) {
        deadline_ = turn.now;  // no time left for them
        return;
      }
      deadline_ = turn.now + kLeftoverGrace;
      turn.actions.push_back(SendSignal{id_, generation_, 15, SignalTarget::Leftovers});
      return;
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

void Child::report(Turn& turn, EventKind kind, Report::Level level, std::string text,
                   ReportFields fields) const {
  turn.actions.push_back(
      Report{level, std::move(text), kind, plan_.name, generation_, std::move(fields)});
}

std::optional<MonotonicTime> Child::start_deadline() const {
  // A startup probe has its own budget. An init task may run as long as it likes.
  if (plan_.start_timeout <= Duration::zero() || plan_.role == Role::Init) return {};
  if (plan_.startup_probe && state_ == ChildState::Gating) return {};
  return facts_.exec_at.value_or(entered_state_at_) + plan_.start_timeout;
}

void Child::open_gate(Turn& turn) {
  deadline_ = start_deadline();
  const bool is_watched_by_host =
      plan_.gate == Gate::NotificationFd || plan_.gate == Gate::LogLine || plan_.gate == Gate::File;
  if (is_watched_by_host) turn.actions.push_back(WatchGate{id_, generation_, plan_.gate});
  if (startup_) startup_->start(turn.now);
}

bool Child::is_gate_open() const {
  // An init task has started when it has ended well: its gate never opens.
  if (plan_.role == Role::Init) return false;
  const bool is_configured_gate_open =
      plan_.gate == Gate::None || plan_.gate == Gate::StartupProbe || facts_.is_gate_seen;
  const bool is_startup_done = !startup_ || startup_->verdict() == ProbeSchedule::Verdict::Success;
  return is_configured_gate_open && is_startup_done;
}

void Child::start_probes(Turn& turn, ProbeSchedule::Verdict known_readiness) {
  if (startup_) startup_->stop(id_, generation_, turn.actions);
  if (readiness_) readiness_->start(turn.now, known_readiness);
  if (turn.is_service_stopping) return;
  if (liveness_) liveness_->start(turn.now);
  if (plan_.watchdog) facts_.watchdog_at = turn.now + *plan_.watchdog;
}

void Child::stop_probes(Turn& turn, bool is_readiness_kept) {
  if (startup_) startup_->stop(id_, generation_, turn.actions);
  if (liveness_) liveness_->stop(id_, generation_, turn.actions);
  if (readiness_ && !is_readiness_kept) readiness_->stop(id_, generation_, turn.actions);
  facts_.watchdog_at.reset();
}

bool Child::is_ready() const {
  if (state_ != ChildState::Running || facts_.has_announced_stop) return false;
  return !readiness_ || readiness_->verdict() == ProbeSchedule::Verdict::Success;
}

bool Child::settle(Turn& turn) {
  if (deadline_ && turn.now >= *deadline_) {
    deadline_.reset();
    if (state_ == ChildState::PostStart || state_ == ChildState::Gating) {
      facts_.replace_reason =
          fmt::format("has not started within {} s ({})",
                      std::chrono::duration_cast<std::chrono::seconds>(plan_.start_timeout).count(),
                      gate_progress());
      report(turn, EventKind::ChildUnhealthy, Report::Level::Warning,
             fmt::format("{} {}; replacing it", plan_.name, facts_.replace_reason),
             {{"reason", facts_.replace_reason}});
    }
    if (transition(ChildEvent::Timeout, turn)) return true;
  }
  if (state_ == ChildState::PostStart && facts_.is_post_start_done) {
    return transition(ChildEvent::PostStartDone, turn);
  }
  if (state_ == ChildState::Gating && is_gate_open()) {
    return transition(ChildEvent::GatePassed, turn);
  }
  for (auto* probe : {&startup_, &readiness_, &liveness_}) {
    if (*probe) (*probe)->advance(id_, generation_, turn.now, turn.actions);
  }
  return settle_health(turn) || settle_hook(turn) || settle_end(turn);
}

// Failed startup and liveness probes and a silent watchdog end the generation.
bool Child::settle_health(Turn& turn) {
  using Verdict = ProbeSchedule::Verdict;
  if (state_ == ChildState::Gating && startup_ && startup_->verdict() == Verdict::Failure) {
    replace(turn, fmt::format("startup probe {}", startup_->describe()), true,
            plan_.startup_probe->termination_grace);
    return true;
  }
  if (state_ != ChildState::Running) return false;
  if (liveness_ && liveness_->is_active() && liveness_->verdict() == Verdict::Failure) {
    replace(turn, fmt::format("liveness probe {}", liveness_->describe()), true,
            plan_.liveness_probe->termination_grace);
    return true;
  }
  if (facts_.watchdog_at && turn.now >= *facts_.watchdog_at) {
    replace(turn, "watchdog: no WATCHDOG=1 in time", true);
    return true;
  }
  return false;
}

// A hook that the host never reports on must not hold the stop.
bool Child::settle_hook(Turn& turn) {
  if (pre_stop_ != HookProgress::Running || !hook_lost_at_ || turn.now < *hook_lost_at_) {
    return false;
  }
  report(turn, EventKind::HookFailed, Report::Level::Warning,
         fmt::format("{}: pre_stop hook timed out", plan_.name),
         {{"hook", "pre_stop"}, {"reason", "timed out"}});
  turn.actions.push_back(CancelHook{id_, generation_, HookKind::PreStop});
  pre_stop_ = HookProgress::Done;
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

void Child::begin_stop(Turn& turn) {
  if (liveness_) liveness_->stop(id_, generation_, turn.actions);
  facts_.watchdog_at.reset();
  if (!is_helper()) desired_ = Desired::Down;
  const bool has_hook_to_run = plan_.pre_stop && pre_stop_ == HookProgress::NotRun &&
                               (state_ == ChildState::PostStart || state_ == ChildState::Gating ||
                                state_ == ChildState::Running);
  if (!has_hook_to_run) {
    pre_stop_ = HookProgress::Done;
    return;
  }
  const Duration remaining = turn.stop_deadline ? *turn.stop_deadline - turn.now : turn.stop_grace;
  const Duration timeout =
      std::clamp(plan_.pre_stop->timeout, Duration::zero(), std::max(remaining, Duration::zero()));
  pre_stop_ = HookProgress::Running;
  hook_lost_at_ = turn.now + timeout + std::chrono::seconds(1);
  turn.is_state_dirty = true;
  turn.actions.push_back(RunHook{id_, generation_, HookKind::PreStop, timeout});
}

void Child::stop(Turn& turn, MonotonicTime kill_at) {
  desired_ = Desired::Down;
  if (pre_stop_ == HookProgress::Running) {
    turn.actions.push_back(CancelHook{id_, generation_, HookKind::PreStop});
  }
  pre_stop_ = HookProgress::Done;
  transition(ChildEvent::StopTurn, turn, kill_at);
}

void Child::kill(Turn& turn) {
  desired_ = Desired::Down;
  if (pre_stop_ == HookProgress::Running) {
    turn.actions.push_back(CancelHook{id_, generation_, HookKind::PreStop});
  }
  pre_stop_ = HookProgress::Done;
  transition(ChildEvent::Kill, turn);
}

bool Child::is_unsignalled() const {
  return state_ == ChildState::Spawning || state_ == ChildState::PostStart ||
         state_ == ChildState::Gating || state_ == ChildState::Running;
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

bool Child::take_restart_all() { return std::exchange(wants_restart_all_, false); }

}  // namespace pillion::supervisor::core
