// What the core must know of a service: a plain specification without paths, users or limits, which
// are the host's business. Built from the accepted configuration by make_plan(), or by hand in
// tests and in the simulator.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"
#include "supervisor/core/ids.h"

namespace pillion::config {
struct Service;
}

namespace pillion::supervisor::core {

// In start order. Everything between init and app is a helper.
enum class Role { Init, Adapter, Ambassador, Sidecar, App };

enum class RestartPolicy { Always, OnFailure, Never };
enum class OnGiveUp { Hold, StopService, Exit };
enum class ExitAction { Restart, RestartAll, Stop, Hold };

// What must be seen before a child counts as started. The startup probe is run by the core, the
// others are watched by the host (action WatchGate) and reported with GateSeen or Notified.
enum class Gate { None, Notify, NotificationFd, StartupProbe, LogLine, File };

enum class ProbeKind { Startup, Readiness, Liveness };
enum class HookKind { PostStart, PreStop };

struct ProbePlan {
  Duration initial_delay{};
  Duration period = std::chrono::seconds(10);
  Duration timeout = std::chrono::seconds(1);
  unsigned success_threshold = 1;
  unsigned failure_threshold = 3;
  std::optional<Duration> termination_grace;  // for the kill after a failed startup or liveness
  bool operator==(const ProbePlan&) const = default;
};

struct HookPlan {
  Duration timeout = std::chrono::seconds(30);
  bool operator==(const HookPlan&) const = default;
};

struct BackoffPlan {
  Duration base = std::chrono::seconds(1);
  Duration max = std::chrono::seconds(60);
  double jitter = 0.2;
  Duration reset_after = std::chrono::minutes(10);
  bool operator==(const BackoffPlan&) const = default;
};

struct ChildPlan {
  std::string name;
  Role role = Role::App;
  bool is_proxy = false;  // gets BeginDrain at the start of a stop

  // Who must have started (init: completed) before this child. Acyclic.
  std::vector<ChildId> dependencies;
  // The part of `dependencies` that the file names with `after`.
  std::vector<ChildId> after;

  Gate gate = Gate::None;
  Duration start_timeout = std::chrono::seconds(60);  // from exec; 0 = wait for ever
  std::optional<Duration> watchdog;
  std::optional<ProbePlan> startup_probe;
  std::optional<ProbePlan> readiness_probe;
  std::optional<ProbePlan> liveness_probe;
  std::optional<HookPlan> post_start;
  std::optional<HookPlan> pre_stop;
  int stop_signal = 15;

  RestartPolicy restart = RestartPolicy::Always;
  BackoffPlan backoff;
  std::optional<unsigned> max_restarts;  // within restart_window; empty = never give up
  Duration restart_window = std::chrono::minutes(10);
  OnGiveUp on_give_up = OnGiveUp::Hold;
  std::vector<unsigned> success_exit_codes;  // beside 0
  std::map<unsigned, ExitAction> exit_actions;
  bool operator==(const ChildPlan&) const = default;
};

struct ServicePlan {
  std::string name;
  Duration stop_grace = std::chrono::seconds(30);
  Duration drain_delay{};
  Duration sidecar_reserve = std::chrono::seconds(5);
  bool has_network = true;  // false: no CreateNetwork, no RemoveNetwork
  bool has_capture = true;  // the app waits until capture is live
  std::vector<ChildPlan> children;
  // Only for Core::restore(), while a deploy is under way: the app that it brings. Without it a
  // deploy that has not shifted the traffic yet is rolled back.
  std::optional<ChildPlan> candidate;
};

std::string_view to_string(ProbeKind kind);  // "readiness"
std::string_view to_string(HookKind kind);   // "pre_stop"

// The plan of a loaded service; children keep their index in Service::children.
ServicePlan make_plan(const config::Service& service);

}  // namespace pillion::supervisor::core
