// What happened, as a typed event: the supervisor logs it, keeps it in the history of events and
// builds timelines and metrics from it. `text` is for people; kind, child, generation and fields
// are for programs.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "supervisor/core/ids.h"

namespace pillion::supervisor::core {

enum class EventKind {
  // The service as a whole.
  ServiceStarting,  // the network is there, children may start
  ServiceRunning,   // the app has started
  ServiceReady,
  ServiceNotReady,
  ServiceStopping,      // fields: reason, grace_ms
  StopHurried,          // asked a second or third time
  StopOverrun,          // the grace is used up
  ServiceRestarting,    // a restart of the whole was asked for; fields: reason
  SetupFailed,          // network or capture; fields: reason
  SupervisorRestarted,  // a new supervisor took over
  SupervisorStalled,    // we did not run for a while; fields: stalled_ms
  ReloadApplied,        // fields: added, removed, replaced, changed (comma-separated names)
  ReloadRefused,        // fields: reason
  ReloadFinished,       // everything runs as the new plan says
  DeployStarted,
  DeployShifted,   // new requests go to the new generation
  DeployFinished,  // the old generation is gone
  DeployFailed,    // rolled back; fields: reason
  RequestRefused,  // an operator asked for what cannot be; fields: reason

  // One child.
  ChildSpawning,
  ChildExecuted,  // exec is confirmed; fields: pid
  ChildStarted,   // post_start done and gate passed
  ChildReady,
  ChildNotReady,     // fields: reason
  ChildUnhealthy,    // to be replaced; fields: reason
  ChildReplacing,    // by an operator's wish or a new plan; fields: reason
  PreStopStarted,    // the pre_stop hook runs
  ChildStopping,     // the stop signal was sent; fields: signal
  ChildKilled,       // SIGKILL was sent
  ChildStuck,        // not even SIGKILL ended it
  ChildExited,       // fields: exit_code, signal, oom
  ChildStartFailed,  // fields: reason
  ChildBackoff,      // fields: delay_ms, failures
  ChildCompleted,
  ChildGaveUp,  // failed for good; fields: reason
  ChildStopped,
  HookFailed,   // fields: hook, reason
  ProbeFailed,  // a threshold was reached; fields: probe, reason
  ProbeError,   // the prober itself failed; fields: probe, reason

  // Seen by the host, on one child.
  ChildOomKilled,  // a process of it, not the main one; fields: pid, process, limit, peak_bytes
  ChildThrottled,  // held back by its CPU limit; fields: share
  ChildNotEnding,  // about to be killed, and what it was doing; fields: signal, state, wchan
  ChildLimitsSet,  // limits were changed while it runs; fields: the changed keys
};

// "service_starting", "child_exited": stable names for the history and the API.
std::string_view to_string(EventKind kind);

using ReportFields = std::map<std::string, std::string>;

struct Report {
  // Debug: for timelines; not worth a line in the log.
  enum class Level { Debug, Info, Warning, Error };
  Level level = Level::Info;
  std::string text;
  EventKind kind = EventKind::ServiceStarting;
  std::string child;  // its name; empty = the service
  Generation generation = 0;
  ReportFields fields;
};

}  // namespace pillion::supervisor::core
