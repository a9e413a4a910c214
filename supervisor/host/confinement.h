// From a child's `hardening` table to the parts of a SpawnPlan that confine it, and what of that
// cannot be had on this machine.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "config/child.h"
#include "runtime/result.h"
#include "supervisor/host/pid_namespaces.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/service_setup.h"
#include "supervisor/host/spawn.h"

namespace pillion::supervisor::host {

class Confinement {
 public:
  Confinement(KeeperClient& keeper, const ServiceSetup& setup, const ServicePaths& paths)
      : setup_(setup), paths_(paths), pid_namespaces_(keeper) {}

  // The plan has its command, namespaces and mounts already. An error when `hardening` asks for
  // what can never be had.
  Result<void> plan(const config::Child& child, SpawnPlan& plan);
  // After plan(): the child's own process numbers, when it is to have them.
  Result<void> enter_pid_namespace(const std::string& leaf, SpawnPlan& plan);
  // A spawn into the namespace failed with ENOMEM: it is about to end. False when there is none.
  bool retry_pid_namespace(const std::string& leaf, SpawnPlan& plan);
  // After plan(), for a command beside the running child `pid`: it sees what that sees, its private
  // /tmp and process numbers included. Where that may not be entered it gets a view like it.
  static void share(pid_t pid, SpawnPlan& plan);

  // What a spawn had to leave out.
  void note_missing(const std::string& child, const std::vector<std::string>& missing);
  // One sentence; empty when all is in effect.
  std::string remark() const;

  PidNamespaces& pid_namespaces() { return pid_namespaces_; }

 private:
  const ServiceSetup& setup_;
  const ServicePaths& paths_;
  PidNamespaces pid_namespaces_;
  std::map<std::string, std::set<std::string>> missing_;  // what → children
};

}  // namespace pillion::supervisor::host
