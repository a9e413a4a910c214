#include "supervisor/core/service_machine.h"

namespace pillion::supervisor::core {

namespace {

using S = ServiceState;
using E = ServiceEvent;
using F = ServiceEffect;

constexpr ServiceRow kTable[] = {
    {S::Preparing, E::Prepared, S::Starting, F::StartChildren},
    {S::Preparing, E::Stop, S::CleaningUp, F::CleanUp},
    {S::Preparing, E::Kill, S::CleaningUp, F::CleanUp},

    {S::Starting, E::AppStarted, S::Running, F::None},
    {S::Starting, E::Stop, S::Draining, F::BeginStop},
    {S::Starting, E::Kill, S::Killing, F::KillChildren},

    {S::Running, E::Stop, S::Draining, F::BeginStop},
    {S::Running, E::Kill, S::Killing, F::KillChildren},

    {S::Draining, E::Hurry, S::Draining, F::SkipDelays},
    {S::Draining, E::Kill, S::Killing, F::KillChildren},
    {S::Draining, E::DeadlinePassed, S::Killing, F::Overrun},
    {S::Draining, E::AppGone, S::StoppingHelpers, F::StopHelpers},

    {S::StoppingHelpers, E::Hurry, S::StoppingHelpers, F::SkipDelays},
    {S::StoppingHelpers, E::Kill, S::Killing, F::KillChildren},
    {S::StoppingHelpers, E::DeadlinePassed, S::Killing, F::Overrun},
    {S::StoppingHelpers, E::AllGone, S::CleaningUp, F::CleanUp},
    {S::StoppingHelpers, E::Rewind, S::Starting, F::Rewind},

    {S::Killing, E::Kill, S::Killing, F::KillChildren},
    {S::Killing, E::AllGone, S::CleaningUp, F::CleanUp},
    {S::Killing, E::Rewind, S::Starting, F::Rewind},

    {S::CleaningUp, E::CleanedUp, S::Stopped, F::Finish},
};

constexpr std::string_view kNotDown = "children still run";

constexpr ServiceIgnored kIgnored[] = {
    {S::Preparing, set_of(E::Hurry, E::DeadlinePassed), "no stop was asked for"},
    {S::Preparing, set_of(E::AppStarted, E::AppGone, E::AllGone), "no child runs yet"},
    {S::Preparing, set_of(E::CleanedUp), "nothing was cleaned up"},
    {S::Preparing, set_of(E::Rewind), kNotDown},

    {S::Starting, set_of(E::Prepared), "told twice"},
    {S::Starting, set_of(E::Hurry, E::DeadlinePassed), "no stop was asked for"},
    {S::Starting, set_of(E::AppGone, E::AllGone), "only a stop waits for that"},
    {S::Starting, set_of(E::CleanedUp), "nothing was cleaned up"},
    {S::Starting, set_of(E::Rewind), kNotDown},

    {S::Running, set_of(E::Prepared, E::AppStarted), "told twice"},
    {S::Running, set_of(E::Hurry, E::DeadlinePassed), "no stop was asked for"},
    {S::Running, set_of(E::AppGone, E::AllGone), "only a stop waits for that"},
    {S::Running, set_of(E::CleanedUp), "nothing was cleaned up"},
    {S::Running, set_of(E::Rewind), kNotDown},

    {S::Draining, set_of(E::Prepared, E::AppStarted), "stopping: too late"},
    {S::Draining, set_of(E::Stop), "stopping already"},
    {S::Draining, set_of(E::AllGone), "helpers are only at rest after the app"},
    {S::Draining, set_of(E::CleanedUp), "nothing was cleaned up"},
    {S::Draining, set_of(E::Rewind), kNotDown},

    {S::StoppingHelpers, set_of(E::Prepared, E::AppStarted), "stopping: too late"},
    {S::StoppingHelpers, set_of(E::Stop), "stopping already"},
    {S::StoppingHelpers, set_of(E::AppGone), "told twice"},
    {S::StoppingHelpers, set_of(E::CleanedUp), "nothing was cleaned up"},

    {S::Killing, set_of(E::Prepared, E::AppStarted), "stopping: too late"},
    {S::Killing, set_of(E::Stop, E::Hurry, E::DeadlinePassed), "killing already"},
    {S::Killing, set_of(E::AppGone), "waits for all"},
    {S::Killing, set_of(E::CleanedUp), "nothing was cleaned up"},

    {S::CleaningUp,
     set_of(E::Prepared, E::AppStarted, E::Stop, E::Hurry, E::Kill, E::DeadlinePassed, E::AppGone,
            E::AllGone, E::Rewind),
     "no child is left; only the clean-up is waited for"},

    {S::Stopped,
     set_of(E::Prepared, E::AppStarted, E::Stop, E::Hurry, E::Kill, E::DeadlinePassed, E::AppGone,
            E::AllGone, E::CleanedUp, E::Rewind),
     "final"},
};

}  // namespace

std::span<const ServiceRow> service_table() { return kTable; }
std::span<const ServiceIgnored> service_ignored() { return kIgnored; }

const ServiceRow* next(ServiceState from, ServiceEvent event) {
  return find_row(service_table(), from, event);
}

std::string_view to_string(ServiceState state) {
  switch (state) {
    case S::Preparing: return "preparing";
    case S::Starting: return "starting";
    case S::Running: return "running";
    case S::Draining: return "draining";
    case S::StoppingHelpers: return "stopping helpers";
    case S::Killing: return "killing";
    case S::CleaningUp: return "cleaning up";
    case S::Stopped: return "stopped";
  }
  return "?";
}

std::string_view to_string(ServiceEvent event) {
  switch (event) {
    case E::Prepared: return "prepared";
    case E::AppStarted: return "app started";
    case E::Stop: return "stop";
    case E::Hurry: return "hurry";
    case E::Kill: return "kill";
    case E::DeadlinePassed: return "deadline passed";
    case E::AppGone: return "app gone";
    case E::AllGone: return "all gone";
    case E::CleanedUp: return "cleaned up";
    case E::Rewind: return "rewind";
  }
  return "?";
}

std::string_view to_string(ServiceEffect effect) {
  switch (effect) {
    case F::None: return "";
    case F::StartChildren: return "start children";
    case F::BeginStop: return "not ready, drain, hooks";
    case F::SkipDelays: return "skip delays";
    case F::StopHelpers: return "stop helpers";
    case F::Overrun: return "terminate or kill all";
    case F::KillChildren: return "kill all";
    case F::CleanUp: return "remove network";
    case F::Finish: return "finish";
    case F::Rewind: return "forget the past life";
  }
  return "?";
}

bool is_stopping(ServiceState state) {
  return state != S::Preparing && state != S::Starting && state != S::Running;
}

}  // namespace pillion::supervisor::core
