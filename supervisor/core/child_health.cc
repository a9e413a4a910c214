// Gates and probes of a child: when it counts as started, as ready, and as alive.
#include <fmt/format.h>

#include <algorithm>

#include "supervisor/core/child.h"

namespace pillion::supervisor::core {

std::optional<MonotonicTime> Child::start_deadline() const {
  // An init task may run as long as it likes.
  if (plan_.start_timeout <= Duration::zero() || plan_.role == Role::Init) return {};
  Duration budget = plan_.start_timeout;
  if (plan_.startup_probe && state_ == ChildState::Gating) {
    // The startup probe has a budget of its own, which replaces the timeout.
    if (plan_.gate == Gate::StartupProbe || plan_.gate == Gate::None) return {};
    const ProbePlan& probe = *plan_.startup_probe;
    budget = std::max(budget, probe.initial_delay + probe.period * probe.failure_threshold);
  }
  return facts_.exec_at.value_or(entered_state_at_) + budget;
}

void Child::open_gate(Turn& turn) {
  deadline_ = start_deadline();
  const bool is_watched_by_host =
      plan_.gate == Gate::NotificationFd || plan_.gate == Gate::LogLine || plan_.gate == Gate::File;
  if (is_watched_by_host) turn.actions.push_back(WatchGate{id_, generation_, plan_.gate});
  const bool is_startup_open =
      startup_ && !startup_->is_active() && startup_->verdict() == ProbeSchedule::Verdict::Unknown;
  if (is_startup_open) startup_->start(turn.now);
}

bool Child::is_gate_open() const {
  // An init task has started when it has ended well: its gate never opens.
  if (plan_.role == Role::Init) return false;
  const bool is_configured_gate_open =
      plan_.gate == Gate::None || plan_.gate == Gate::StartupProbe || facts_.is_gate_seen;
  const bool is_startup_done = !startup_ || startup_->verdict() == ProbeSchedule::Verdict::Success;
  return is_configured_gate_open && is_startup_done;
}

void Child::start_probes(Turn& turn) {
  if (startup_) startup_->stop(id_, generation_, turn.actions);
  if (readiness_) readiness_->start(turn.now);
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

void Child::report_readiness(Turn& turn) {
  const bool is_ready_now = is_ready();
  if (is_ready_now == is_ready_reported_) return;
  is_ready_reported_ = is_ready_now;
  if (is_ready_now) {
    report(turn, EventKind::ChildReady, Report::Level::Debug,
           fmt::format("{} is ready (generation {})", plan_.name, generation_));
    return;
  }
  const std::string reason = why(turn.now);
  report(turn, EventKind::ChildNotReady, Report::Level::Debug,
         fmt::format("{} is not ready: {}", plan_.name, reason), {{"reason", reason}});
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

void Child::forgive(Duration stall, const Turn& turn) {
  for (auto* probe : {&startup_, &readiness_, &liveness_}) {
    if (*probe) (*probe)->forgive(stall, turn.now);
  }
  // What would be due at once gets a moment more: the news may wait behind us.
  const auto move = [&](std::optional<MonotonicTime>& at, Duration least) {
    if (at) at = std::max(*at + stall, turn.now + least);
  };
  move(facts_.watchdog_at, plan_.watchdog.value_or(kNewsDelay));
  move(hook_lost_at_, kNewsDelay);
  const bool is_starting = state_ == ChildState::Spawning || state_ == ChildState::PostStart ||
                           state_ == ChildState::Gating || state_ == ChildState::Killing;
  // A stop of the service has one deadline, whatever happens.
  const bool is_ending = state_ == ChildState::PreStop || state_ == ChildState::Stopping;
  if (is_starting || (is_ending && !turn.is_service_stopping)) move(deadline_, kNewsDelay);
}

// Probes whose plan changes start anew, with what was known of readiness: a change of the period
// takes nobody out of service.
void Child::renew_probes(const ChildPlan& plan, Turn& turn) {
  using Verdict = ProbeSchedule::Verdict;
  const bool is_running = state_ == ChildState::Running;
  const Verdict readiness = is_ready() ? Verdict::Success : Verdict::Unknown;
  const auto renew = [&](std::optional<ProbeSchedule>& probe, ProbeKind kind,
                         const std::optional<ProbePlan>& before,
                         const std::optional<ProbePlan>& after, bool is_wanted, Verdict known) {
    if (before == after) return;
    if (probe) probe->stop(id_, generation_, turn.actions);
    probe.reset();
    if (!after) return;
    probe.emplace(kind, *after);
    if (is_wanted) probe->start(turn.now, known);
  };
  renew(startup_, ProbeKind::Startup, plan_.startup_probe, plan.startup_probe,
        state_ == ChildState::Gating, Verdict::Unknown);
  renew(readiness_, ProbeKind::Readiness, plan_.readiness_probe, plan.readiness_probe, is_running,
        readiness);
  renew(liveness_, ProbeKind::Liveness, plan_.liveness_probe, plan.liveness_probe,
        is_running && !turn.is_service_stopping, Verdict::Unknown);
}

}  // namespace pillion::supervisor::core
