// The life of one child, from its turn in the start order to its rest.
//
// *Waiting* for its turn: every dependency must have started. *Spawning*: the host was told, exec
// is not yet confirmed. *PostStart*: the hook runs. *Gating*: exec and hook are done, the gate is
// not. *Running*: started; what depends on it may start. *Stopping*: it has got its stop signal,
// because the service stops or because this generation is to be replaced (unhealthy, or an
// operator's wish). *PreStop*: it is to be replaced, or an operator stops it, and its pre_stop hook
// runs first, within the same grace; in a stop of the service the hooks of all run at once and the
// state stays what it was. *Killing*: SIGKILL was sent, the exit is not confirmed. *Ending*: the
// main process is gone, other processes of its cgroup have got SIGTERM; *Clearing*: they have got
// SIGKILL. When nothing of the generation is left, one of five events decides what follows:
// RestartNow, RestartLater (*Backoff*), Succeed (*Completed*), GiveUp (*Failed*) or Rest
// (*Stopped*). *Stuck*: not even SIGKILL ended it (uninterruptible sleep); no new generation may
// start beside it.
//
// What we want of a child is not its state: see Desired. A generation counts from Spawning on.
#pragma once

#include <span>
#include <string_view>

#include "supervisor/core/machine.h"

namespace pillion::supervisor::core {

enum class Desired { Up, Down };

enum class ChildState {
  Waiting,
  Spawning,
  PostStart,
  Gating,
  Running,
  Stopping,
  Killing,
  Ending,
  Clearing,
  Backoff,
  Completed,
  Failed,
  Stopped,
  Stuck,
  PreStop,
};
inline constexpr ChildState kChildStates[] = {
    ChildState::Waiting,  ChildState::Spawning, ChildState::PostStart, ChildState::Gating,
    ChildState::Running,  ChildState::Stopping, ChildState::Killing,   ChildState::Ending,
    ChildState::Clearing, ChildState::Backoff,  ChildState::Completed, ChildState::Failed,
    ChildState::Stopped,  ChildState::Stuck,    ChildState::PreStop};

enum class ChildEvent {
  Start,          // its turn has come
  ExecConfirmed,  // the program runs
  SpawnError,     // there is no process
  PostStartDone,  // the hook succeeded, or there is none
  GatePassed,     // the gate is open, or there is none
  Replace,        // this generation is to end: unhealthy, another plan, or an operator's wish
  PreStopDone,    // the hook is over, or there is none
  StopTurn,       // the service stops and everything that depends on this child is gone
  Kill,           // end it now
  Timeout,        // the state's own deadline passed
  MainExited,     // the main process is gone
  RestartNow,     // nothing of the generation is left, and …
  RestartLater,
  Succeed,
  GiveUp,
  Rest,
  Retry,  // an operator, a new plan or a restart of the service: start again
};
inline constexpr ChildEvent kChildEvents[] = {
    ChildEvent::Start,         ChildEvent::ExecConfirmed, ChildEvent::SpawnError,
    ChildEvent::PostStartDone, ChildEvent::GatePassed,    ChildEvent::Replace,
    ChildEvent::StopTurn,      ChildEvent::Kill,          ChildEvent::Timeout,
    ChildEvent::MainExited,    ChildEvent::RestartNow,    ChildEvent::RestartLater,
    ChildEvent::Succeed,       ChildEvent::GiveUp,        ChildEvent::Rest,
    ChildEvent::Retry,         ChildEvent::PreStopDone};

// What a transition does beside setting the state.
enum class ChildEffect {
  None,
  Spawn,  // new generation
  RunPostStart,
  OpenGate,        // watch the gate, start the startup probe
  Started,         // start readiness and liveness probes and the watchdog
  RunPreStop,      // the hook, arm the kill
  SignalStop,      // stop signal, arm the kill
  Tighten,         // already signalled: the deadline of the service's stop may be nearer
  KillAll,         // SIGKILL to the cgroup, arm the confirmation
  ClearLeftovers,  // SIGTERM to what is left of the cgroup
  ArmBackoff,
  GiveUp,
};

using ChildRow = Row<ChildState, ChildEvent, ChildEffect>;
using ChildIgnored = Ignored<ChildState, ChildEvent>;

std::span<const ChildRow> child_table();
std::span<const ChildIgnored> child_ignored();

// Null when the event is ignored in that state.
const ChildRow* next(ChildState from, ChildEvent event);

std::string_view to_string(ChildState state);    // "waiting", "post-start"
std::string_view to_string(ChildEvent event);    // "exec confirmed"
std::string_view to_string(ChildEffect effect);  // "send stop signal"

// A process of the current generation may exist.
bool is_alive(ChildState state);
// Nothing will happen to it any more in this life of the service, unless an operator says so.
bool is_at_rest(ChildState state);

}  // namespace pillion::supervisor::core
