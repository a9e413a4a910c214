// Drives a Core by hand in tests: a standing clock, the actions of each step, and shorthands for
// the host's usual answers.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "supervisor/core/core.h"

namespace pillion::supervisor::core {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline ChildPlan child_plan(std::string name, Role role, std::vector<ChildId> dependencies = {},
                            Gate gate = Gate::None) {
  ChildPlan plan;
  plan.name = std::move(name);
  plan.role = role;
  plan.dependencies = std::move(dependencies);
  plan.gate = gate;
  plan.backoff.jitter = 0;
  return plan;
}

// setup (init) → logs (adapter) → vault (ambassador) → proxy (sidecar) → app, as the classic pod.
enum : ChildId { kSetup, kLogs, kVault, kProxy, kApp };
inline ServicePlan classic_plan() {
  ServicePlan plan;
  plan.name = "orders";
  plan.children = {child_plan("setup", Role::Init),
                   child_plan("logs", Role::Adapter, {0}, Gate::Notify),
                   child_plan("vault", Role::Ambassador, {0, 1}, Gate::Notify),
                   child_plan("proxy", Role::Sidecar, {0, 1, 2}, Gate::Notify),
                   child_plan("app", Role::App, {0, 1, 2, 3})};
  plan.children[kSetup].restart = RestartPolicy::OnFailure;
  plan.children[kProxy].is_proxy = true;
  return plan;
}

// Only an app, and no network.
inline ServicePlan lone_app_plan() {
  ServicePlan plan;
  plan.name = "alone";
  plan.has_network = false;
  plan.has_capture = false;
  plan.children = {child_plan("app", Role::App)};
  return plan;
}

inline ExitStatus exited(int code) { return {ExitStatus::Kind::Exited, code, false}; }
inline ExitStatus killed_by(int signal) { return {ExitStatus::Kind::Signaled, signal, false}; }

class CoreDriver {
 public:
  explicit CoreDriver(ServicePlan plan) : core(std::move(plan), 1) { take(core.start(now)); }
  explicit CoreDriver(Core restored, MonotonicTime at) : core(std::move(restored)), now(at) {
    take(core.start(now));
  }

  void send(const Event& event) { take(core.handle(event, now)); }
  void advance(Duration by) {
    const MonotonicTime end = now + by;
    last.clear();
    while (core.next_wakeup() && *core.next_wakeup() <= end) {
      now = std::max(now, *core.next_wakeup());
      append(core.advance(now));
    }
    now = end;
    append(core.advance(now));
  }

  // The host's answers.
  ChildStatus child(ChildId id) const {
    for (const ChildStatus& one : core.status(now).children) {
      if (one.id == id) return one;
    }
    return {};
  }
  bool has_slot(ChildId id) const { return !child(id).name.empty(); }
  Generation generation(ChildId id) const { return child(id).generation; }
  ChildState state(ChildId id) const { return child(id).state; }
  void spawned(ChildId child) { send(Spawned{child, generation(child), 100}); }
  void ready(ChildId child) { send(Notified{child, generation(child), Notified::Kind::Ready, ""}); }
  void exit(ChildId child, ExitStatus status) { send(Exited{child, generation(child), status}); }
  // From start to a running app of classic_plan().
  void run_classic() {
    send(NetworkCreated{});
    spawned(kSetup);
    exit(kSetup, exited(0));
    for (const ChildId helper : {kLogs, kVault, kProxy}) {
      spawned(helper);
      ready(helper);
    }
    send(CaptureLive{});
    spawned(kApp);
  }

  // The first action of a kind in the last step, empty when there is none.
  template<class T>
  std::optional<T> find() const {
    for (const Action& action : last) {
      if (const T* found = std::get_if<T>(&action)) return *found;
    }
    return {};
  }
  template<class T>
  std::optional<T> find(ChildId child) const {
    for (const Action& action : last) {
      const T* found = std::get_if<T>(&action);
      if (found && found->child == child) return *found;
    }
    return {};
  }
  template<class T>
  bool has(ChildId child) const {
    return find<T>(child).has_value();
  }
  bool was_signalled(ChildId child, int signal) const {
    const auto sent = find<SendSignal>(child);
    return sent && sent->signal_number == signal && sent->target == SignalTarget::Configured;
  }
  // The reports of a kind in the last step.
  std::vector<Report> reports(EventKind kind) const {
    std::vector<Report> found;
    for (const Action& action : last) {
      const Report* report = std::get_if<Report>(&action);
      if (report && report->kind == kind) found.push_back(*report);
    }
    return found;
  }
  ServiceStatus status() const { return core.status(now); }

  Core core;
  MonotonicTime now{std::chrono::hours(1)};
  Actions last;

 private:
  void take(Actions actions) { last = std::move(actions); }
  void append(Actions actions) {
    for (Action& action : actions) last.push_back(std::move(action));
  }
};

}  // namespace pillion::supervisor::core
