// Carries out the probes and hooks that the core asks for, each at most once at a time per child
// and kind. Exec ones run beside the child: its user, namespaces and environment, a cgroup of their
// own.
#pragma once

#include <map>
#include <memory>
#include <tuple>

#include "config/service.h"
#include "runtime/loop.h"
#include "supervisor/core/actions.h"
#include "supervisor/host/children.h"
#include "supervisor/host/command_run.h"
#include "supervisor/host/net_probe.h"
#include "supervisor/host/process_host.h"
#include "supervisor/host/service_setup.h"

namespace pillion::supervisor::host {

class ProbeRunner {
 public:
  ProbeRunner(Loop& loop, ProcessHost& processes, Cgroups& cgroups, ServiceSetup& setup,
              Children& children, const ChildSlots& slots, PostEvent post);

  void run(const core::RunProbe& action);
  void cancel(const core::CancelProbe& action);
  void run(const core::RunHook& action);
  void cancel(const core::CancelHook& action);
  // Asks a proxy to drain: its admin endpoint says not ready, and connections are asked to leave.
  void begin_drain(const core::BeginDrain& action);
  // Ends everything under way.
  void close() { runs_.clear(); }

 private:
  struct Run {
    std::unique_ptr<NetProbe> net;
    std::unique_ptr<CommandRun> command;
    std::unique_ptr<Timer> timer;
  };
  // Child, and what runs for it: probe kinds, hook kinds, the drain.
  enum class Purpose { Startup, Readiness, Liveness, PostStart, PreStop, Drain };
  using Key = std::pair<core::ChildId, Purpose>;
  using OnOutcome = std::function<void(NetProbeOutcome, const std::string& detail)>;

  static Purpose purpose_of(core::ProbeKind kind);
  static Purpose purpose_of(core::HookKind kind);
  Run& begin(Key key);
  void finish(Key key);
  void end(Key key);
  void run_net(Key key, const NetProbeTarget& target, Duration timeout, OnOutcome on_outcome);
  void run_http(Key key, const config::HttpAction& http, Duration timeout, OnOutcome on_outcome);
  void run_program(Key key, std::vector<std::string> arguments, Duration timeout,
                   OnOutcome on_outcome);
  void run_command(Key key, core::Generation generation, const config::ExecAction& exec,
                   Duration timeout, OnOutcome on_outcome);
  void answer_later(Key key, Duration delay, NetProbeOutcome outcome, std::string detail,
                    OnOutcome on_outcome);

  Loop& loop_;
  ProcessHost& processes_;
  Cgroups& cgroups_;
  ServiceSetup& setup_;
  Children& children_;
  const ChildSlots& slots_;
  PostEvent post_;
  std::map<Key, Run> runs_;
  std::uint64_t command_count_ = 0;
};

}  // namespace pillion::supervisor::host
