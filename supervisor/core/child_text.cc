// What people read about a child.
#include <fmt/format.h>

#include <algorithm>

#include "supervisor/core/child.h"

namespace pillion::supervisor::core {

namespace {
// "350 ms", "12 s", "4 min"
std::string short_duration(Duration duration) {
  using namespace std::chrono;
  const auto milliseconds_left = duration_cast<milliseconds>(duration).count();
  if (milliseconds_left < 1000) return fmt::format("{} ms", std::max<long>(milliseconds_left, 0));
  const auto seconds_left = (milliseconds_left + 500) / 1000;
  return seconds_left < 120 ? fmt::format("{} s", seconds_left)
                            : fmt::format("{} min", (seconds_left + 30) / 60);
}
}  // namespace

std::string Child::gate_progress() const {
  if (startup_ && startup_->is_active() &&
      (plan_.gate == Gate::StartupProbe || facts_.is_gate_seen)) {
    const std::string progress = startup_->describe();
    return progress.empty() ? "startup probe has no result yet" : "startup probe " + progress;
  }
  switch (plan_.gate) {
    case Gate::Notify:
      return status_text_.empty() ? "has not sent READY=1" : "not ready: " + status_text_;
    case Gate::NotificationFd: return "has not written to its notification fd";
    case Gate::LogLine: return "no line of its output matched";
    case Gate::File: return "its gate file does not exist";
    case Gate::None:
    case Gate::StartupProbe: break;
  }
  return "starting";
}

std::string Child::probe_progress() const {
  if (facts_.has_announced_stop) return "said that it is stopping or reloading";
  if (!readiness_) return {};
  const std::string progress = readiness_->describe();
  return progress.empty() ? "readiness probe has no result yet" : "readiness probe " + progress;
}

std::string Child::why(MonotonicTime now) const {
  switch (state_) {
    case ChildState::Waiting:
      return stranger_ ? "an earlier generation has not ended" : "waits for its turn";
    case ChildState::Spawning: return "exec is not confirmed yet";
    case ChildState::PostStart: return "post_start hook runs";
    case ChildState::Gating: return plan_.role == Role::Init ? "has not finished" : gate_progress();
    case ChildState::Running: return is_ready() ? "" : probe_progress();
    case ChildState::Stopping:
      return facts_.replace_reason.empty() ? "was told to stop"
                                           : facts_.replace_reason + "; was told to stop";
    case ChildState::Killing: return "was killed; its exit is awaited";
    case ChildState::Ending:
    case ChildState::Clearing: return "processes that it left behind are being ended";
    case ChildState::Backoff:
      return fmt::format("{}; starts again in {}",
                         failure_reason_.empty() ? "ended" : failure_reason_,
                         short_duration(deadline_ ? *deadline_ - now : Duration::zero()));
    case ChildState::Completed:
      return plan_.role == Role::Init
                 ? ""
                 : "has finished; restart = \"" +
                       std::string(plan_.restart == RestartPolicy::Never ? "never" : "on-failure") +
                       "\"";
    case ChildState::Failed: return failure_reason_;
    case ChildState::PreStop:
      return facts_.replace_reason.empty() ? "pre_stop hook runs"
                                           : facts_.replace_reason + "; pre_stop hook runs";
    case ChildState::Stopped: return desired_ == Desired::Down ? "was stopped" : "";
    case ChildState::Stuck: return "does not end, not even by SIGKILL (uninterruptible sleep?)";
  }
  return {};
}

ChildStatus Child::status(MonotonicTime now) const {
  ChildStatus status;
  status.id = id_;
  status.is_candidate = membership_ == Membership::Candidate;
  status.is_leaving = membership_ == Membership::Leaving;
  status.name = plan_.name;
  status.role = plan_.role;
  status.state = state_;
  status.is_ready = is_ready();
  status.generation = generation_;
  status.restarts = restarts_;
  status.pid = is_alive(state_) && !facts_.is_main_gone ? facts_.pid : 0;
  status.in_state_for = now - entered_state_at_;
  if (state_ == ChildState::Backoff && deadline_) {
    status.restart_in = std::max(*deadline_ - now, Duration::zero());
  }
  status.last_exit = last_exit_;
  status.why = why(now);
  status.status_text = status_text_;
  return status;
}

}  // namespace pillion::supervisor::core
