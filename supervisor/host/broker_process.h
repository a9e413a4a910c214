// The socket broker of a sealed service (pillion-broker) as a process: started inside the service's
// network namespace, and started again whenever it ends. Its channel outlives it, so requests wait
// for the successor. No child of the core: it has no readiness, no probe and no say.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "runtime/loop.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/process_host.h"

namespace pillion::supervisor::host {

class BrokerProcess {
 public:
  BrokerProcess(Loop& loop, ProcessHost& processes, Cgroups& cgroups);
  ~BrokerProcess();
  BrokerProcess(const BrokerProcess&) = delete;
  BrokerProcess& operator=(const BrokerProcess&) = delete;

  // `plan` says what to run; its descriptors are borrowed until stop().
  void start(SpawnPlan plan);
  // Ends it; `then` runs from the loop, soon at the latest.
  void stop(std::function<void()> then);

 private:
  void launch();
  void on_exit(int wait_status);
  void on_gone();

  Loop& loop_;
  ProcessHost& processes_;
  Cgroups& cgroups_;
  SpawnPlan plan_;
  std::optional<ProcessId> process_;
  std::string leaf_;
  int starts_ = 0;
  int failures_ = 0;  // in a row, each soon after its start
  MonotonicTime started_at_{};
  Timer later_;
  std::function<void()> on_stopped_;
};

}  // namespace pillion::supervisor::host
