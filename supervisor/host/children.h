// The generations of the service's children as processes: spawning with everything a child gets,
// signals, exits with their reason, what a generation leaves behind. Decides nothing: it carries
// out the core's actions and tells what happened as events.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/service.h"
#include "runtime/loop.h"
#include "runtime/notify.h"
#include "supervisor/core/actions.h"
#include "supervisor/core/events.h"
#include "supervisor/core/snapshot.h"
#include "supervisor/host/app_terminal.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/child_environment.h"
#include "supervisor/host/child_notify.h"
#include "supervisor/host/child_slots.h"
#include "supervisor/host/confinement.h"
#include "supervisor/host/gate_watch.h"
#include "supervisor/host/output_capture.h"
#include "supervisor/host/process_host.h"
#include "supervisor/host/resources.h"
#include "supervisor/host/service_setup.h"

namespace pillion::supervisor::host {

using PostEvent = std::function<void(core::Event)>;

class Children {
 public:
  Children(Loop& loop, KeeperClient& keeper, ProcessHost& processes, Cgroups& cgroups,
           Resources& resources, ServiceSetup& setup, const config::Service& service,
           const ChildSlots& slots, const ServicePaths& paths, bool echoes_output, PostEvent post);

  // Opens the slot's output pipes and notify socket, or takes them over from the keeper. Once for
  // each slot, before anything else about it.
  Result<void> open_channels(core::ChildId slot);
  bool has_channels(core::ChildId slot) const { return outputs_.count(slot) > 0; }
  // The table in the slot is another one now: changes what can change under a running generation.
  void use_configuration(core::ChildId slot, const config::Child& before);
  // Writes the component's table anew and sends SIGHUP.
  void reload(const core::ReloadChild& action);
  // Takes over a record of the keeper's ledger; what the core must know of it, if anything. The
  // snapshot tells two slots of one name apart.
  std::optional<core::Survivor> adopt(const ChildRecord& record, const core::Snapshot& snapshot);

  // Every record has been taken over: what belongs to none ends.
  void end_adoption();

  // Called within a fact's delivery: what follows from it has been carried out when it returns, so
  // that the fact may be forgotten at its source.
  void on_facts(std::function<void()> settle) { settle_ = std::move(settle); }

  void spawn(core::ChildId child, core::Generation generation);
  void watch_gate(core::ChildId child, core::Generation generation);
  void send_signal(const core::SendSignal& action);
  // To the app's running generation, as its signal_scope says.
  void signal_app(core::ChildId app, int signal_number);
  void kill(core::ChildId child, core::Generation generation);
  void release(core::ChildId child, core::Generation generation);

  // A plan that runs `command` as the child would: its user, namespaces, environment.
  Result<SpawnPlan> plan_beside(core::ChildId child, core::Generation generation,
                                std::vector<std::string> command);
  // Hardening that this machine does not give, one sentence; empty when all is in effect.
  std::string hardening_remark() const { return confinement_.remark(); }
  // Records of the child's output that are not in its log, since the supervisor started.
  std::uint64_t dropped_records(const std::string& child) const;
  // A group whose processes were killed goes when they are gone.
  void remove_later(const std::string& leaf);
  // The app gets this terminal, from its next generation on; null for none.
  void lend_terminal(AppTerminal* terminal) { terminal_ = terminal; }
  // The service is over: the pipes go.
  void close();

 private:
  struct Generation {
    std::optional<ProcessId> process;
    pid_t pid = 0;
    std::string leaf;
    std::unique_ptr<GateWatch> gate;
    bool is_gate_seen = false;
    bool is_gate_wanted = false;
    bool is_awaiting_empty = false;
    bool is_killed = false;
    bool has_own_pids = false;
  };
  using Key = std::pair<core::ChildId, core::Generation>;

  const config::Child& config_of(core::ChildId child) const { return slots_.at(child); }
  std::optional<core::ChildId> find_slot(const ChildRecord& record,
                                         const core::Snapshot& snapshot) const;
  std::shared_ptr<OutputLog> log_of(const config::Child& child);
  std::string channel_name(core::ChildId slot) const;
  Result<void> start(core::ChildId child, core::Generation number, Generation& generation);
  Result<void> write_child_files(const config::Child& child);
  void complete_plan(const config::Child& child, SpawnPlan& plan);
  ProcessEvents events_of(Key key);
  void on_started(Key key, std::optional<SpawnFailure> failure, const std::string& description);
  void on_exit(Key key, int wait_status);
  bool has_leftovers(const Generation& generation) const;
  void on_gate_seen(Key key);
  void forget(Key key);
  void rescan_log(const std::string& child, core::Generation number, GateWatch& gate);
  void look_for_leftovers();
  std::optional<Key> find_sender(core::ChildId child, const NotifyMessage& message) const;
  void on_notify(core::ChildId child, const NotifyMessage& message);
  ChildContext context_of(core::ChildId child, core::Generation generation) const;
  void echo(const std::string& child, std::string_view line);

  Loop& loop_;
  KeeperClient& keeper_;
  ProcessHost& processes_;
  Cgroups& cgroups_;
  Resources& resources_;
  ServiceSetup& setup_;
  const config::Service& service_;
  const ChildSlots& slots_;
  const ServicePaths& paths_;
  bool echoes_output_;
  AppTerminal* terminal_ = nullptr;
  PostEvent post_;
  std::function<void()> settle_;
  std::map<Key, Generation> generations_;
  OutputWriter writer_;
  // By child: slots of one name write to one log. Shared with the writer.
  std::map<std::string, std::shared_ptr<OutputLog>> logs_;
  std::map<core::ChildId, std::unique_ptr<OutputCapture>> outputs_;
  std::map<core::ChildId, std::unique_ptr<ChildNotify>> notify_sockets_;
  std::vector<std::string> leaves_to_remove_;
  Confinement confinement_;
  Timer leftovers_;
};

}  // namespace pillion::supervisor::host
