// The core's memory as a plain value, so that a restarted supervisor continues where the last one
// ended. Times are durations since boot (CLOCK_BOOTTIME); a snapshot of another boot is worthless:
// the host writes the boot id beside it and compares.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/clock.h"
#include "runtime/result.h"
#include "supervisor/core/child_machine.h"
#include "supervisor/core/events.h"
#include "supervisor/core/ids.h"
#include "supervisor/core/service_machine.h"

namespace pillion::supervisor::core {

struct ProbeSnapshot {
  int verdict = 0;  // ProbeSchedule::Verdict
  unsigned successes = 0;
  unsigned failures = 0;
  std::uint64_t last_sequence = 0;
  std::optional<Duration> next_at;
  std::string last_detail;
};

struct ChildSnapshot {
  std::string name;  // children are matched by name and, during a deploy, by slot
  ChildState state = ChildState::Waiting;
  Desired desired = Desired::Up;
  Generation generation = 0;
  Duration entered_state_at{};  // all times are since boot
  std::optional<Duration> state_deadline;

  // Of the current generation.
  int pid = 0;
  std::optional<Duration> exec_at;
  bool is_post_start_done = false;
  bool is_gate_seen = false;
  bool has_announced_stop = false;
  bool is_main_gone = false;
  bool has_leftovers = false;
  bool is_readiness_good = false;  // the readiness probe's last verdict
  bool is_hook_done = false;       // pre_stop
  bool is_replaced_by_wish = false;
  std::optional<ExitStatus> exit;
  std::string replace_reason;
  std::string spawn_error;
  int spawn_exit_code = 0;

  // Over all generations.
  bool has_started_once = false;
  unsigned restarts = 0;
  unsigned failures_in_a_row = 0;
  std::vector<Duration> recent_restarts;
  std::optional<ExitStatus> last_exit;
  std::optional<int> cannot_start_code;
  int rest_reason = 0;
  std::string failure_reason;
  std::string status_text;
  std::map<std::string, std::int64_t> receipt;
  bool was_killed = false;
  bool starts_afresh = false;

  // Membership in the plan. Of one that is to go or to be replaced, what its end needs is kept: the
  // file may know it no more.
  int membership = 0;
  bool is_outdated = false;
  int role = 0;
  int stop_signal = 15;
  std::vector<ChildId> dependencies;

  std::optional<ProbeSnapshot> startup;
  std::optional<ProbeSnapshot> readiness;
  std::optional<ProbeSnapshot> liveness;
};

struct StopSnapshot {
  std::string reason;
  Duration requested_at{};
  Duration deadline{};
  unsigned requests = 1;
  bool are_delays_skipped = false;
  std::optional<int> forced_exit_code;
  std::optional<Duration> app_signalled_at;
  std::optional<Duration> app_gone_at;
  std::optional<Duration> all_gone_at;
  std::optional<Duration> restart_at;
  bool keeps_failures = false;
};

struct DeploySnapshot {
  int phase = 0;
  ChildId current = 0;
  ChildId candidate = 0;
  Duration deadline{};
  Duration min_ready{};
  bool has_asked_to_shift = false;
  std::string reason;
};

struct Snapshot {
  static constexpr int kVersion = 1;
  int version = kVersion;
  std::string boot_id;            // filled and compared by the host
  std::uint64_t last_signal = 0;  // likewise: serial number of the last signal that is in here
  ServiceState state = ServiceState::Preparing;
  Duration service_started_at{};
  Duration entered_state_at{};
  bool is_capture_live = false;
  bool has_app_started = false;
  bool is_reload_under_way = false;
  std::optional<StopSnapshot> stop;
  std::optional<DeploySnapshot> deploy;
  std::vector<ChildSnapshot> children;
};

// JSON text with everything in it; and back. The parse fails on another version or on rubbish.
std::string to_json(const Snapshot& snapshot);
Result<Snapshot> parse_snapshot(std::string_view json);

// A process that the host found alive, or whose exit it learned of, when the supervisor started
// again (from the keeper's ledger).
struct Survivor {
  std::string child;
  Generation generation = 0;
  int pid = 0;
  std::optional<ExitStatus> exited;  // empty = alive
  bool has_leftovers = false;        // of an exited one
};

}  // namespace pillion::supervisor::core
