#include "supervisor/core/report.h"

#include "supervisor/core/plan.h"

namespace pillion::supervisor::core {

std::string_view to_string(EventKind kind) {
  switch (kind) {
    case EventKind::ServiceStarting: return "service_starting";
    case EventKind::ServiceRunning: return "service_running";
    case EventKind::ServiceReady: return "service_ready";
    case EventKind::ServiceNotReady: return "service_not_ready";
    case EventKind::ServiceStopping: return "service_stopping";
    case EventKind::StopHurried: return "stop_hurried";
    case EventKind::StopOverrun: return "stop_overrun";
    case EventKind::ServiceRestarting: return "service_restarting";
    case EventKind::SetupFailed: return "setup_failed";
    case EventKind::SupervisorRestarted: return "supervisor_restarted";
    case EventKind::SupervisorStalled: return "supervisor_stalled";
    case EventKind::ReloadApplied: return "reload_applied";
    case EventKind::ReloadRefused: return "reload_refused";
    case EventKind::ReloadFinished: return "reload_finished";
    case EventKind::DeployStarted: return "deploy_started";
    case EventKind::DeployShifted: return "deploy_shifted";
    case EventKind::DeployFinished: return "deploy_finished";
    case EventKind::DeployFailed: return "deploy_failed";
    case EventKind::RequestRefused: return "request_refused";
    case EventKind::ChildSpawning: return "child_spawning";
    case EventKind::ChildExecuted: return "child_executed";
    case EventKind::ChildStarted: return "child_started";
    case EventKind::ChildReady: return "child_ready";
    case EventKind::ChildNotReady: return "child_not_ready";
    case EventKind::ChildUnhealthy: return "child_unhealthy";
    case EventKind::ChildReplacing: return "child_replacing";
    case EventKind::PreStopStarted: return "pre_stop_started";
    case EventKind::ChildStopping: return "child_stopping";
    case EventKind::ChildKilled: return "child_killed";
    case EventKind::ChildStuck: return "child_stuck";
    case EventKind::ChildExited: return "child_exited";
    case EventKind::ChildStartFailed: return "child_start_failed";
    case EventKind::ChildBackoff: return "child_backoff";
    case EventKind::ChildCompleted: return "child_completed";
    case EventKind::ChildGaveUp: return "child_gave_up";
    case EventKind::ChildStopped: return "child_stopped";
    case EventKind::HookFailed: return "hook_failed";
    case EventKind::ProbeFailed: return "probe_failed";
    case EventKind::ProbeError: return "probe_error";
    case EventKind::ChildOomKilled: return "child_oom_killed";
    case EventKind::ChildThrottled: return "child_throttled";
    case EventKind::ChildNotEnding: return "child_not_ending";
    case EventKind::ChildLimitsSet: return "child_limits_set";
  }
  return "?";
}

std::string_view to_string(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::Startup: return "startup";
    case ProbeKind::Readiness: return "readiness";
    case ProbeKind::Liveness: return "liveness";
  }
  return "?";
}

std::string_view to_string(HookKind kind) {
  return kind == HookKind::PostStart ? "post_start" : "pre_stop";
}

}  // namespace pillion::supervisor::core
