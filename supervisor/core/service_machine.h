// The life of a service: one table above those of its children.
//
// *Preparing*: the network and the mounts are being made. *Starting*: children start in order; the
// app has not started yet. *Running*: the app has started (restarts of single children do not
// change this). *Draining*: a stop was asked for; delay and hooks pass, then the app stops, while
// helpers serve on. *StoppingHelpers*: the app is gone, helpers stop in reverse order. *Killing*:
// the stop's deadline has passed, or was waived. *CleaningUp*: no child is left, the network is
// removed. A restart of the whole service goes the same way down, and from where the last child is
// gone back to *Starting*. *Stopped*: the exit code is final.
#pragma once

#include <span>
#include <string_view>

#include "supervisor/core/machine.h"

namespace pillion::supervisor::core {

enum class ServiceState {
  Preparing,
  Starting,
  Running,
  Draining,
  StoppingHelpers,
  Killing,
  CleaningUp,
  Stopped,
};
inline constexpr ServiceState kServiceStates[] = {
    ServiceState::Preparing,  ServiceState::Starting,        ServiceState::Running,
    ServiceState::Draining,   ServiceState::StoppingHelpers, ServiceState::Killing,
    ServiceState::CleaningUp, ServiceState::Stopped};

enum class ServiceEvent {
  Prepared,
  AppStarted,
  Stop,            // the first request, or a reason of our own
  Hurry,           // the second request
  Kill,            // the third request, or no grace
  DeadlinePassed,  // T0 + grace
  AppGone,
  AllGone,
  CleanedUp,
  Rewind,  // all are gone, and the service is to start again
};
inline constexpr ServiceEvent kServiceEvents[] = {
    ServiceEvent::Prepared, ServiceEvent::AppStarted, ServiceEvent::Stop,
    ServiceEvent::Hurry,    ServiceEvent::Kill,       ServiceEvent::DeadlinePassed,
    ServiceEvent::AppGone,  ServiceEvent::AllGone,    ServiceEvent::CleanedUp,
    ServiceEvent::Rewind};

enum class ServiceEffect {
  None,
  StartChildren,
  BeginStop,   // not ready, proxies drain, hooks start
  SkipDelays,  // no more waiting for the delay and the hooks
  StopHelpers,
  Overrun,       // SIGTERM to who has not got it, SIGKILL to who has
  KillChildren,  // SIGKILL to all
  CleanUp,
  Finish,
  Rewind,  // as if no child had ever run
};

using ServiceRow = Row<ServiceState, ServiceEvent, ServiceEffect>;
using ServiceIgnored = Ignored<ServiceState, ServiceEvent>;

std::span<const ServiceRow> service_table();
std::span<const ServiceIgnored> service_ignored();
const ServiceRow* next(ServiceState from, ServiceEvent event);

std::string_view to_string(ServiceState state);  // "stopping helpers"
std::string_view to_string(ServiceEvent event);
std::string_view to_string(ServiceEffect effect);

// A stop was asked for, or is over.
bool is_stopping(ServiceState state);

}  // namespace pillion::supervisor::core
