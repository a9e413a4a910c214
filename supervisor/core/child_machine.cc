// The transition table of a child, a long one because every row and every reason stands in it once.
#include "supervisor/core/child_machine.h"

#include <algorithm>

namespace pillion::supervisor::core {

namespace {

using S = ChildState;
using E = ChildEvent;
using F = ChildEffect;

constexpr ChildRow kTable[] = {
    {S::Waiting, E::Start, S::Spawning, F::Spawn},
    {S::Waiting, E::StopTurn, S::Stopped, F::None},
    {S::Waiting, E::Kill, S::Stopped, F::None},

    {S::Spawning, E::ExecConfirmed, S::PostStart, F::RunPostStart},
    {S::Spawning, E::SpawnError, S::Ending, F::None},
    {S::Spawning, E::StopTurn, S::Stopping, F::SignalStop},
    {S::Spawning, E::Kill, S::Killing, F::KillAll},
    {S::Spawning, E::Timeout, S::Killing, F::KillAll},
    {S::Spawning, E::MainExited, S::Ending, F::ClearLeftovers},

    {S::PostStart, E::PostStartDone, S::Gating, F::OpenGate},
    {S::PostStart, E::Replace, S::PreStop, F::RunPreStop},
    {S::PostStart, E::StopTurn, S::Stopping, F::SignalStop},
    {S::PostStart, E::Kill, S::Killing, F::KillAll},
    {S::PostStart, E::Timeout, S::PreStop, F::RunPreStop},
    {S::PostStart, E::MainExited, S::Ending, F::ClearLeftovers},

    {S::Gating, E::GatePassed, S::Running, F::Started},
    {S::Gating, E::Replace, S::PreStop, F::RunPreStop},
    {S::Gating, E::StopTurn, S::Stopping, F::SignalStop},
    {S::Gating, E::Kill, S::Killing, F::KillAll},
    {S::Gating, E::Timeout, S::PreStop, F::RunPreStop},
    {S::Gating, E::MainExited, S::Ending, F::ClearLeftovers},

    {S::Running, E::Replace, S::PreStop, F::RunPreStop},
    {S::Running, E::StopTurn, S::Stopping, F::SignalStop},
    {S::Running, E::Kill, S::Killing, F::KillAll},
    {S::Running, E::MainExited, S::Ending, F::ClearLeftovers},

    {S::PreStop, E::PreStopDone, S::Stopping, F::SignalStop},
    {S::PreStop, E::StopTurn, S::Stopping, F::SignalStop},
    {S::PreStop, E::Timeout, S::Stopping, F::SignalStop},
    {S::PreStop, E::Kill, S::Killing, F::KillAll},
    {S::PreStop, E::MainExited, S::Ending, F::ClearLeftovers},

    {S::Stopping, E::SpawnError, S::Ending, F::None},
    {S::Stopping, E::StopTurn, S::Stopping, F::Tighten},
    {S::Stopping, E::Kill, S::Killing, F::KillAll},
    {S::Stopping, E::Timeout, S::Killing, F::KillAll},
    {S::Stopping, E::MainExited, S::Ending, F::ClearLeftovers},

    {S::Killing, E::SpawnError, S::Ending, F::None},
    {S::Killing, E::Timeout, S::Stuck, F::None},
    {S::Killing, E::MainExited, S::Ending, F::ClearLeftovers},

    {S::Ending, E::Kill, S::Clearing, F::KillAll},
    {S::Ending, E::Timeout, S::Clearing, F::KillAll},
    {S::Ending, E::RestartNow, S::Waiting, F::None},
    {S::Ending, E::RestartLater, S::Backoff, F::ArmBackoff},
    {S::Ending, E::Succeed, S::Completed, F::None},
    {S::Ending, E::GiveUp, S::Failed, F::GiveUp},
    {S::Ending, E::Rest, S::Stopped, F::None},

    {S::Clearing, E::Timeout, S::Stuck, F::None},
    {S::Clearing, E::RestartNow, S::Waiting, F::None},
    {S::Clearing, E::RestartLater, S::Backoff, F::ArmBackoff},
    {S::Clearing, E::Succeed, S::Completed, F::None},
    {S::Clearing, E::GiveUp, S::Failed, F::GiveUp},
    {S::Clearing, E::Rest, S::Stopped, F::None},

    {S::Backoff, E::StopTurn, S::Stopped, F::None},
    {S::Backoff, E::Kill, S::Stopped, F::None},
    {S::Backoff, E::Timeout, S::Waiting, F::None},
    {S::Backoff, E::Retry, S::Waiting, F::None},

    {S::Completed, E::Retry, S::Waiting, F::None},
    {S::Failed, E::Retry, S::Waiting, F::None},
    {S::Stopped, E::Retry, S::Waiting, F::None},

    {S::Stuck, E::MainExited, S::Ending, F::ClearLeftovers},
    {S::Stuck, E::SpawnError, S::Ending, F::None},
    {S::Stuck, E::RestartNow, S::Waiting, F::None},
    {S::Stuck, E::RestartLater, S::Backoff, F::ArmBackoff},
    {S::Stuck, E::Succeed, S::Completed, F::None},
    {S::Stuck, E::GiveUp, S::Failed, F::GiveUp},
    {S::Stuck, E::Rest, S::Stopped, F::None},
};

constexpr auto kDecisions = set_of(E::RestartNow, E::RestartLater, E::Succeed, E::GiveUp, E::Rest);
constexpr auto kProcessNews = set_of(E::ExecConfirmed, E::SpawnError, E::PostStartDone,
                                     E::GatePassed, E::Replace, E::PreStopDone, E::MainExited);
constexpr std::string_view kNotOver = "the generation is not over, nothing is to be decided";
constexpr std::string_view kNoHook = "no such hook was run in this state";
constexpr std::string_view kNoProcess = "there is no process; late news of a past generation";

constexpr ChildIgnored kIgnored[] = {
    {S::Waiting, kProcessNews, kNoProcess},
    {S::Waiting, kDecisions, "decided already"},
    {S::Waiting, set_of(E::Timeout, E::Retry), "waits for others, not for time"},

    {S::Spawning, set_of(E::PostStartDone, E::GatePassed), "kept in mind until exec is confirmed"},
    {S::Spawning, set_of(E::Start, E::Retry, E::Replace), "a fresh generation is on its way"},
    {S::Spawning, set_of(E::PreStopDone), kNoHook},
    {S::Spawning, kDecisions, kNotOver},

    {S::PostStart, set_of(E::GatePassed), "kept in mind until the hook is done"},
    {S::PostStart, set_of(E::ExecConfirmed, E::SpawnError), "told twice"},
    {S::PostStart, set_of(E::Start, E::Retry), "runs already"},
    {S::PostStart, set_of(E::PreStopDone), kNoHook},
    {S::PostStart, kDecisions, kNotOver},

    {S::Gating, set_of(E::ExecConfirmed, E::SpawnError, E::PostStartDone), "told twice"},
    {S::Gating, set_of(E::Start, E::Retry), "runs already"},
    {S::Gating, set_of(E::PreStopDone), kNoHook},
    {S::Gating, kDecisions, kNotOver},

    {S::Running, set_of(E::ExecConfirmed, E::SpawnError, E::PostStartDone, E::GatePassed),
     "told twice; the gate never closes again"},
    {S::Running, set_of(E::Start, E::Retry), "runs already"},
    {S::Running, set_of(E::PreStopDone), kNoHook},
    {S::Running, set_of(E::Timeout), "no deadline here; a late timer"},
    {S::Running, kDecisions, kNotOver},

    {S::PreStop,
     set_of(E::ExecConfirmed, E::SpawnError, E::PostStartDone, E::GatePassed, E::Start, E::Retry),
     "too late: it is being ended"},
    {S::PreStop, set_of(E::Replace), "is being ended already"},
    {S::PreStop, kDecisions, kNotOver},

    {S::Stopping, set_of(E::ExecConfirmed, E::PostStartDone, E::GatePassed, E::PreStopDone),
     "too late: it is being ended"},
    {S::Stopping, set_of(E::Replace, E::Start, E::Retry), "is being ended already"},
    {S::Stopping, kDecisions, kNotOver},

    {S::Killing, set_of(E::ExecConfirmed, E::PostStartDone, E::GatePassed, E::PreStopDone),
     "too late: it is being killed"},
    {S::Killing, set_of(E::Replace, E::StopTurn, E::Kill, E::Start, E::Retry),
     "is being killed already"},
    {S::Killing, kDecisions, kNotOver},

    {S::Ending, kProcessNews, "the main process is gone; told late or twice"},
    {S::Ending, set_of(E::StopTurn), "what is left is being ended already"},
    {S::Ending, set_of(E::Start, E::Retry), "the past generation is not over"},

    {S::Clearing, kProcessNews, "the main process is gone; told late or twice"},
    {S::Clearing, set_of(E::StopTurn, E::Kill), "what is left was killed already"},
    {S::Clearing, set_of(E::Start, E::Retry), "the past generation is not over"},

    {S::Backoff, kProcessNews, kNoProcess},
    {S::Backoff, set_of(E::Start), "must wait for its delay first"},
    {S::Backoff, kDecisions, "decided already"},

    {S::Completed, kProcessNews, kNoProcess},
    {S::Completed, kDecisions, "decided already"},
    {S::Completed, set_of(E::Start), "its work is done"},
    {S::Completed, set_of(E::StopTurn, E::Kill, E::Timeout), "at rest"},

    {S::Failed, kProcessNews, kNoProcess},
    {S::Failed, kDecisions, "decided already"},
    {S::Failed, set_of(E::Start), "gave up; only a retry revives it"},
    {S::Failed, set_of(E::StopTurn, E::Kill, E::Timeout), "at rest"},

    {S::Stopped, kProcessNews, kNoProcess},
    {S::Stopped, kDecisions, "decided already"},
    {S::Stopped, set_of(E::Start), "is to stay down"},
    {S::Stopped, set_of(E::StopTurn, E::Kill, E::Timeout), "at rest"},

    {S::Stuck,
     set_of(E::ExecConfirmed, E::PostStartDone, E::GatePassed, E::Replace, E::PreStopDone),
     "beyond help"},
    {S::Stuck, set_of(E::StopTurn, E::Kill, E::Timeout), "SIGKILL was sent; only the kernel can"},
    {S::Stuck, set_of(E::Start, E::Retry), "never two generations of one child"},
};

}  // namespace

std::span<const ChildRow> child_table() { return kTable; }
std::span<const ChildIgnored> child_ignored() { return kIgnored; }

const ChildRow* next(ChildState from, ChildEvent event) {
  return find_row(child_table(), from, event);
}

std::string_view to_string(ChildState state) {
  switch (state) {
    case S::Waiting: return "waiting";
    case S::Spawning: return "spawning";
    case S::PostStart: return "post-start";
    case S::Gating: return "gating";
    case S::Running: return "running";
    case S::Stopping: return "stopping";
    case S::Killing: return "killing";
    case S::Ending: return "ending";
    case S::Clearing: return "clearing";
    case S::Backoff: return "backoff";
    case S::Completed: return "completed";
    case S::Failed: return "failed";
    case S::Stopped: return "stopped";
    case S::Stuck: return "stuck";
    case S::PreStop: return "pre-stop";
  }
  return "?";
}

std::string_view to_string(ChildEvent event) {
  switch (event) {
    case E::Start: return "start";
    case E::ExecConfirmed: return "exec confirmed";
    case E::SpawnError: return "spawn error";
    case E::PostStartDone: return "post_start done";
    case E::GatePassed: return "gate passed";
    case E::Replace: return "replace";
    case E::StopTurn: return "stop turn";
    case E::Kill: return "kill";
    case E::Timeout: return "timeout";
    case E::MainExited: return "main exited";
    case E::RestartNow: return "restart now";
    case E::RestartLater: return "restart later";
    case E::Succeed: return "succeed";
    case E::GiveUp: return "give up";
    case E::Rest: return "rest";
    case E::Retry: return "retry";
    case E::PreStopDone: return "pre_stop done";
  }
  return "?";
}

std::string_view to_string(ChildEffect effect) {
  switch (effect) {
    case F::None: return "";
    case F::Spawn: return "spawn";
    case F::RunPostStart: return "run post_start";
    case F::OpenGate: return "watch gate";
    case F::Started: return "start probes";
    case F::RunPreStop: return "run pre_stop";
    case F::SignalStop: return "send stop signal";
    case F::Tighten: return "shorten deadline";
    case F::KillAll: return "kill cgroup";
    case F::ClearLeftovers: return "end leftovers";
    case F::ArmBackoff: return "arm backoff";
    case F::GiveUp: return "act on giving up";
  }
  return "?";
}

bool is_alive(ChildState state) {
  switch (state) {
    case S::Spawning:
    case S::PostStart:
    case S::Gating:
    case S::Running:
    case S::PreStop:
    case S::Stopping:
    case S::Killing:
    case S::Ending:
    case S::Clearing:
    case S::Stuck: return true;
    default: return false;
  }
}

bool is_at_rest(ChildState state) {
  return state == S::Completed || state == S::Failed || state == S::Stopped || state == S::Stuck;
}

}  // namespace pillion::supervisor::core
