// What the core asks the host to do, in order. Actions are commands without a return value; what
// came of them arrives as events. All are safe to carry out twice (after a restart of the
// supervisor some are given again).
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "supervisor/core/events.h"
#include "supervisor/core/ids.h"
#include "supervisor/core/plan.h"
#include "supervisor/core/receipt.h"
#include "supervisor/core/report.h"

namespace pillion::supervisor::core {

// Answer: NetworkCreated or NetworkFailed. Creates or finds again the namespace and the mounts.
struct CreateNetwork {};
// Answer: CaptureLive or CaptureFailed.
struct EnableCapture {};
// Answer: NetworkRemoved (also when it failed: log why). All children are gone.
struct RemoveNetwork {};

// Write Core::snapshot() to disk before the rest of the batch is carried out.
struct WriteState {};

// Answer: Spawned or SpawnFailed; later Exited.
struct Spawn {
  ChildId child = 0;
  Generation generation = 0;
};

// Watch for the child's gate (NotificationFd, LogLine, File) until GateSeen or the generation's
// exit. Notify needs no watch: send Notified.
struct WatchGate {
  ChildId child = 0;
  Generation generation = 0;
  Gate gate = Gate::None;
};

// Run the probe once; answer ProbeFinished within about `timeout`. Never two of one kind at a time.
struct RunProbe {
  ChildId child = 0;
  Generation generation = 0;
  ProbeKind kind = ProbeKind::Readiness;
  std::uint64_t sequence = 0;
  Duration timeout{};
};
// Drop a probe that is under way; an exec probe's processes are killed. No answer needed.
struct CancelProbe {
  ChildId child = 0;
  Generation generation = 0;
  ProbeKind kind = ProbeKind::Readiness;
  std::uint64_t sequence = 0;
};

// Answer: HookFinished, at the latest after `timeout`.
struct RunHook {
  ChildId child = 0;
  Generation generation = 0;
  HookKind kind = HookKind::PreStop;
  Duration timeout{};
};
struct CancelHook {
  ChildId child = 0;
  Generation generation = 0;
  HookKind kind = HookKind::PreStop;
};

// Tell a proxy to drain: answer not ready, ask its downstreams to leave, still accept.
struct BeginDrain {
  ChildId child = 0;
  Generation generation = 0;
};

enum class SignalTarget {
  Configured,  // as the child's signal_scope says: main process, its group, or its cgroup
  Leftovers,   // everything left in the generation's cgroup
};

struct SendSignal {
  ChildId child = 0;
  Generation generation = 0;
  int signal_number = 0;
  SignalTarget target = SignalTarget::Configured;
};

// SIGKILL to everything in the generation's cgroup (without cgroups: its process group).
struct KillCgroup {
  ChildId child = 0;
  Generation generation = 0;
};

// The generation is over and nothing of it is left: its cgroup, gate watch, hooks and probes may
// go. An exit status may be acknowledged to the keeper now.
struct ReleaseGeneration {
  ChildId child = 0;
  Generation generation = 0;
};

// The service as a whole became ready or not ready.
struct PublishReadiness {
  bool is_ready = false;
};

// A Replan was accepted: make its file the accepted one. UsePlan follows for each child concerned.
struct PlanChanged {};

// From now on `child` stands for its table in the accepted file, or, with `is_candidate`, for the
// app of the deploy. Comes for new slots before anything else about them, and for a child that must
// be replaced when its old generation is over: until then its hooks and probes are the old ones.
struct UsePlan {
  ChildId child = 0;
  bool is_candidate = false;
};

// The child's configuration changed in a way that it can take over while it runs: write its table
// anew and send SIGHUP.
struct ReloadChild {
  ChildId child = 0;
  Generation generation = 0;
};

// A deploy: send new requests to the app in slot `to`, and none to the one in slot `from`.
// Answer: TrafficShifted or ShiftFailed. When a deploy rolls back, the other way round: then
// without TrafficShifted it is asked for again every three seconds, for half a minute.
struct ShiftTraffic {
  ChildId from = 0;
  ChildId to = 0;
};
// The app in `slot` is the service's app from now on: make its configuration the accepted one. May
// come again after a restart of the supervisor.
struct PromoteApp {
  ChildId slot = 0;
};
// A deploy is over and `gone` has no process left: its port and its other belongings may go.
// The app that stays is the other slot of its name: after a restart of the whole service the proxy
// is started with that one.
struct EndDeploy {
  ChildId gone = 0;
  bool is_promoted = false;
};

// The last action: exit with this code.
struct Finish {
  int exit_code = 0;
  Receipt receipt;
};

using Action =
    std::variant<CreateNetwork, EnableCapture, RemoveNetwork, WriteState, Spawn, WatchGate,
                 RunProbe, CancelProbe, RunHook, CancelHook, BeginDrain, SendSignal, KillCgroup,
                 ReleaseGeneration, PublishReadiness, Report, Finish, PlanChanged, ReloadChild,
                 ShiftTraffic, PromoteApp, EndDeploy, UsePlan>;

using Actions = std::vector<Action>;

}  // namespace pillion::supervisor::core
