// Before a supervisor makes way for the installed programs: whether those could go on with this
// service at all. Both are tried on the real state, in processes of their own, within seconds.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/loop.h"
#include "runtime/result.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/command_run.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/process_host.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::host {

// "0.1.0": of this program.
const char* program_version();

class UpgradeCheck {
 public:
  using OnDone = std::function<void(Result<void>)>;

  UpgradeCheck(Loop& loop, KeeperClient& keeper, ProcessHost& processes, Cgroups& cgroups)
      : loop_(loop), keeper_(keeper), processes_(processes), cgroups_(cgroups) {}

  // `accepted` is the configuration file that a new supervisor would load, `state` the snapshot.
  // Refuses while a check is under way. `on_done` runs once, from the loop.
  Result<void> start(const std::string& accepted, const std::string& state, OnDone on_done);

 private:
  void on_supervisor_checked(const CommandResult& result);

  Loop& loop_;
  KeeperClient& keeper_;
  ProcessHost& processes_;
  Cgroups& cgroups_;
  std::unique_ptr<CommandRun> command_;
  OnDone on_done_;
  int count_ = 0;
};

// `pillion supervise FILE --check-takeover STATE`: whether this program could continue. 0, or an
// exit code after it said why not on stderr.
int check_takeover(const std::string& accepted, const std::string& state);

}  // namespace pillion::supervisor::host
