// Processes of the service: children, exec probes, hooks, and short-lived programs of our own.
// Joins spawn() with the keeper's ledger: registered before the clone, exit reported from the
// keeper.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/loop.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/spawn.h"

namespace pillion::supervisor::host {

using ProcessId = std::int64_t;  // the keeper's record

struct ProcessEvents {
  // Hardening that was left out, one text each. Before on_started; not called when there is none.
  std::function<void(const std::vector<std::string>& skipped)> on_skipped;
  // Exec succeeded (empty), or what failed, described. Always before on_exit.
  std::function<void(std::optional<SpawnFailure> failure, const std::string& description)>
      on_started;
  std::function<void(int wait_status)> on_exit;
};

class ProcessHost {
 public:
  ProcessHost(Loop& loop, KeeperClient& keeper) : loop_(loop), keeper_(keeper) {}

  // `name` and `generation` go to the ledger. An error means that no process was made. Callbacks
  // run from the loop, never within this call.
  Result<ProcessId> start(SpawnPlan& plan, const std::string& name, std::uint64_t generation,
                          const std::string& leaf, ProcessEvents events);
  // A process of an earlier supervisor, alive or with its exit recorded.
  ProcessId adopt(const ChildRecord& record, ProcessEvents events);

  // Reports a start whose confirmation was not yet read; no effect otherwise. The only call that
  // may run on_started within itself.
  void confirm_started(ProcessId id) { on_error_pipe(id, true); }

  pid_t pid_of(ProcessId id) const;  // 0 when it is not known
  // To the main process; false when it is gone.
  bool send_signal(ProcessId id, int signal_number);
  bool send_group_signal(ProcessId id, int signal_number);
  // Something of its process group still runs (its main process was reaped or not).
  static bool group_exists(pid_t pid);

  // Drops the callbacks; the exit is acknowledged to the keeper when it comes.
  void forget(ProcessId id);
  // Acknowledges an exit; the record is gone.
  void acknowledge(ProcessId id);

  // From the keeper.
  void on_exit(const ChildRecord& record);

 private:
  struct Process {
    pid_t pid = 0;
    Fd pidfd;
    Fd error_pipe;
    std::optional<Poll> error_poll;
    SpawnPlan plan_text;  // only what describe_failure needs; empty once the exec is known
    SpawnReport report;
    ProcessEvents events;
    bool has_exited = false;
    bool is_forgotten = false;
  };

  void on_error_pipe(ProcessId id, bool is_known_started);
  Result<SpawnedChild> start_recorded(SpawnPlan& plan, ProcessId id, Pipe& go);

  Loop& loop_;
  KeeperClient& keeper_;
  std::map<ProcessId, Process> processes_;
};

}  // namespace pillion::supervisor::host
