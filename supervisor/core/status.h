// What `pillion status` shows: a value computed from the core at one moment.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "supervisor/core/child_machine.h"
#include "supervisor/core/events.h"
#include "supervisor/core/plan.h"
#include "supervisor/core/service_machine.h"

namespace pillion::supervisor::core {

struct ChildStatus {
  ChildId id = 0;
  std::string name;
  Role role = Role::App;
  ChildState state = ChildState::Waiting;
  bool is_ready = false;
  Generation generation = 0;
  unsigned restarts = 0;  // since the service started
  int pid = 0;            // 0 = no process
  Duration in_state_for{};
  std::optional<Duration> restart_in;   // Backoff: until the next start
  std::optional<ExitStatus> last_exit;  // of the generation before
  std::string why;                      // one sentence; empty when there is nothing to explain
  std::string status_text;              // the child's own STATUS=
  bool is_candidate = false;            // the next app of a deploy
  bool is_leaving = false;              // not in the plan any more, or the old app of a deploy
};

struct ServiceStatus {
  std::string name;
  ServiceState state = ServiceState::Preparing;
  bool is_ready = false;
  Duration up_for{};
  std::optional<Duration> stop_deadline_in;  // while stopping
  std::string why;                           // "app waits for proxy: startup probe refused 7/30"
  std::vector<ChildStatus> children;         // slot order
};

}  // namespace pillion::supervisor::core
