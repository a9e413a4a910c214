// What the host tells the core. Each event is a fact that happened, keyed by child and generation;
// events of a past generation, duplicates and late ones are harmless. Time does not come as an
// event: the host calls Core::advance() when Core::next_wakeup() is reached.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "supervisor/core/ids.h"
#include "supervisor/core/plan.h"

namespace pillion::supervisor::core {

// How the main process of a child ended.
struct ExitStatus {
  enum class Kind { Exited, Signaled, Unknown };
  Kind kind = Kind::Unknown;  // Unknown: the status was lost; counts as a failure
  int value = 0;              // exit code or signal number
  bool is_oom_kill = false;
  // What the host knows beyond that, a sentence fragment: which limit, or what the process was
  // doing when it had to be killed. May be empty.
  std::string detail{};

  // The shell's convention: the code, 128 + signal, 255 when unknown.
  int exit_code() const;
  // "exited with 3", "was killed by signal 9 (out of memory)"
  std::string describe() const;
  // The same with the detail behind it.
  std::string explain() const;
  bool operator==(const ExitStatus&) const = default;
};

// The network namespace exists and the service's mounts are made; children may start.
struct NetworkCreated {};
// The set-up failed for good; the service ends with exit code 71.
struct NetworkFailed {
  std::string reason;
};
struct NetworkRemoved {};
struct CaptureLive {};
struct CaptureFailed {
  std::string reason;
};

// The child's exec is confirmed.
struct Spawned {
  ChildId child = 0;
  Generation generation = 0;
  int pid = 0;
};

// There is no process. `stage` names the failed step ("exec", "chdir", "cgroup", …), `reason` is a
// whole sentence fragment for people: "chdir(\"/opt/x\"): no such file or directory".
struct SpawnFailed {
  ChildId child = 0;
  Generation generation = 0;
  std::string stage;
  int errno_value = 0;
  std::string reason;
};

// The main process ended. With `has_leftovers` other processes of its cgroup still run; the host
// then says CgroupEmpty when the last one is gone.
struct Exited {
  ChildId child = 0;
  Generation generation = 0;
  ExitStatus status;
  bool has_leftovers = false;
};
struct CgroupEmpty {
  ChildId child = 0;
  Generation generation = 0;
};

// One fact from the child's notify socket. A datagram with several fields becomes several events.
struct Notified {
  enum class Kind { Ready, Stopping, Reloading, Watchdog, Status, Receipt };
  ChildId child = 0;
  Generation generation = 0;
  Kind kind = Kind::Ready;
  std::string text;  // of Status, and "key=value key=value" of Receipt
};

// What WatchGate asked for was seen.
struct GateSeen {
  ChildId child = 0;
  Generation generation = 0;
};

enum class ProbeResult { Success, Failure, Timeout, ProberError };

struct ProbeFinished {
  ChildId child = 0;
  Generation generation = 0;
  ProbeKind kind = ProbeKind::Readiness;
  std::uint64_t sequence = 0;  // of the RunProbe it answers
  ProbeResult result = ProbeResult::Success;
  std::string detail;  // "connection refused", "HTTP 503"
};

struct HookFinished {
  ChildId child = 0;
  Generation generation = 0;
  HookKind kind = HookKind::PreStop;
  bool is_success = true;
  std::string detail;
};

// A stop by signal or by the control socket. The first one starts the stop; a shorter `grace` of a
// later one shortens the deadline. With `escalates` (signals: each TERM or INT) the second skips
// delays and hooks, the third kills at once.
struct StopRequested {
  std::optional<Duration> grace;  // empty = the service's stop_grace; 0 = kill
  bool escalates = false;
  std::string reason;  // "SIGTERM", "pillion stop"
};

// From an operator: replace the running generation of a child, without backoff. Starts one that is
// at rest or waits for its backoff.
struct RestartRequested {
  ChildId child = 0;
};
// From an operator: do not wait for the backoff any longer, and forget past failures.
struct RetryRequested {
  ChildId child = 0;
};
// From an operator: end a child (pre_stop, stop signal, kill after `grace`; empty = stop_grace) and
// leave it down until StartChildRequested or a restart of the service.
struct StopChildRequested {
  ChildId child = 0;
  std::optional<Duration> grace;
};
// From an operator: want a child up again that was stopped, has finished or has failed. It starts
// when what it depends on has started.
struct StartChildRequested {
  ChildId child = 0;
};
// From an operator: stop all children in the order of a stop, then start again from the init tasks
// on. The network stays.
struct RestartServiceRequested {
  std::string reason;
};

// What a new plan means for a child that is in the old one too.
enum class ChildChange {
  None,
  InPlace,  // restart policy, probes, hooks, stop signal…: from now on, nothing is restarted
  Reload,   // its component configuration only: written anew, and SIGHUP
  Replace,  // needs a new generation
};

// A reload. Children are matched by name. Those that are not in the plan any more are stopped when
// nothing depends on them; changed ones are replaced in start order, each when what it depends on
// runs as the plan says; new ones start when their turn comes. has_network and has_capture of a
// running service stay. A plan that cannot be is refused (Report of kind ReloadRefused), as is one
// that comes while the service stops, restarts or deploys.
struct Replan {
  ServicePlan plan;
  std::map<std::string, ChildChange> changes;  // absent = None
};

// A rolling replace of the app: its next generation starts beside the old one in another slot,
// must become ready within `timeout`, and gets the traffic; then the old one is stopped. Whatever
// fails before that leaves the old one as it was.
struct DeployRequested {
  ChildPlan app;
  Duration timeout = std::chrono::minutes(10);
  Duration min_ready{};  // must stay ready for so long before the traffic shifts
};
// An operator ends a deploy that has not shifted yet.
struct DeployCancelled {};
// Answers to ShiftTraffic.
struct TrafficShifted {
  ChildId to = 0;
};
struct ShiftFailed {
  ChildId to = 0;
  std::string reason;
};

using Event =
    std::variant<NetworkCreated, NetworkFailed, NetworkRemoved, CaptureLive, CaptureFailed, Spawned,
                 SpawnFailed, Exited, CgroupEmpty, Notified, GateSeen, ProbeFinished, HookFinished,
                 StopRequested, RestartRequested, RetryRequested, StopChildRequested,
                 StartChildRequested, RestartServiceRequested, Replan, DeployRequested,
                 DeployCancelled, TrafficShifted, ShiftFailed>;

}  // namespace pillion::supervisor::core
