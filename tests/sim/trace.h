// Events and actions as text, for the trace of a simulated world.
#pragma once

#include <string>

#include <fmt/format.h>

#include "supervisor/core/actions.h"
#include "supervisor/core/events.h"

namespace pillion::supervisor::core {

inline double seconds_of(MonotonicTime time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count() - 3600;
}

inline const char* action_name(const Action& action) {
  constexpr const char* names[] = {
      "CreateNetwork", "EnableCapture", "RemoveNetwork", "WriteState",        "Spawn",
      "WatchGate",     "RunProbe",      "CancelProbe",   "RunHook",           "CancelHook",
      "BeginDrain",    "SendSignal",    "KillCgroup",    "ReleaseGeneration", "PublishReadiness",
      "Report",        "Finish",        "PlanChanged",   "ReloadChild",       "ShiftTraffic",
      "PromoteApp",    "EndDeploy",     "UsePlan"};
  return names[action.index()];
}

inline const char* event_name(const Event& event) {
  constexpr const char* names[] = {"NetworkCreated",
                                   "NetworkFailed",
                                   "NetworkRemoved",
                                   "CaptureLive",
                                   "CaptureFailed",
                                   "Spawned",
                                   "SpawnFailed",
                                   "Exited",
                                   "CgroupEmpty",
                                   "Notified",
                                   "GateSeen",
                                   "ProbeFinished",
                                   "HookFinished",
                                   "StopRequested",
                                   "RestartRequested",
                                   "RetryRequested",
                                   "StopChildRequested",
                                   "StartChildRequested",
                                   "RestartServiceRequested",
                                   "Replan",
                                   "DeployRequested",
                                   "DeployCancelled",
                                   "TrafficShifted",
                                   "ShiftFailed"};
  return names[event.index()];
}

template<class T>
std::string whom(const T& item) {
  std::string text;
  if constexpr (requires { item.child; }) text += fmt::format(" child {}", item.child);
  if constexpr (requires { item.generation; }) text += fmt::format(" g{}", item.generation);
  if constexpr (requires { item.text; }) text += " " + item.text;
  return text;
}

}  // namespace pillion::supervisor::core
