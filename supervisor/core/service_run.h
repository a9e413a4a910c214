// The service at work behind Core: what concerns several children. Order of starts, capture,
// readiness of the whole, and the stop (stop.cc). Private to supervisor/core.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/core/actions.h"
#include "supervisor/core/child.h"
#include "supervisor/core/events.h"
#include "supervisor/core/plan.h"
#include "supervisor/core/random.h"
#include "supervisor/core/service_machine.h"
#include "supervisor/core/snapshot.h"
#include "supervisor/core/status.h"

namespace pillion::supervisor::core {

// How long the removal of the network may take before the service ends without it.
inline constexpr Duration kCleanUpTimeout = std::chrono::seconds(30);

class ServiceRun {
 public:
  ServiceRun(ServicePlan plan, std::uint64_t seed);

  void restore(const Snapshot& snapshot, const std::vector<Survivor>& survivors, MonotonicTime now,
               Duration boot_now);

  Actions start(MonotonicTime now);
  Actions handle(const Event& event, MonotonicTime now);
  Actions advance(MonotonicTime now);
  std::optional<MonotonicTime> next_wakeup() const;
  Snapshot snapshot(MonotonicTime now, Duration boot_now) const;
  ServiceStatus status(MonotonicTime now) const;
  const ServicePlan& plan() const { return plan_; }
  bool is_finished() const { return is_finished_; }

 private:
  enum class Capture { Off, Requested, Live };

  struct Stop {
    std::string reason;
    MonotonicTime requested_at;
    MonotonicTime deadline;
    unsigned requests = 1;
    bool are_delays_skipped = false;
    std::optional<int> forced_exit_code;
    std::optional<MonotonicTime> app_signalled_at;
    std::optional<MonotonicTime> app_gone_at;
    std::optional<MonotonicTime> all_gone_at;
  };

  Turn make_turn(MonotonicTime now);
  Actions finish_turn();
  bool transition(ServiceEvent event, Turn& turn);
  void perform(ServiceEffect effect, Turn& turn);
  void settle(Turn& turn);
  bool settle_once(Turn& turn);

  // Starting and Running.
  bool settle_starts(Turn& turn);
  bool settle_capture(Turn& turn);
  bool settle_outcomes(Turn& turn);
  bool settle_restart_all(Turn& turn);
  void settle_readiness(Turn& turn);
  // The first child that `child` still waits for, null when none.
  const Child* choose_blocker(const Child& child) const;
  bool is_ready() const;
  std::string why(const Child& child, MonotonicTime now) const;
  std::string why(MonotonicTime now) const;

  // The stop.
  void request_stop(Turn& turn, Duration grace, std::string reason,
                    std::optional<int> forced_exit_code);
  void on_stop_request(const StopRequested& event, Turn& turn);
  void shorten_stop(Turn& turn, Duration grace);
  void begin_stop(Turn& turn);
  bool settle_draining(Turn& turn);
  bool settle_helpers(Turn& turn);
  void overrun(Turn& turn);
  void kill_children(Turn& turn);
  void finish(Turn& turn);
  bool are_dependents_gone(const Child& child) const;
  bool is_app_gone() const;
  bool are_all_gone() const;
  // When a child is killed at the latest, whatever still waits.
  MonotonicTime cutoff(const Child& child) const;
  MonotonicTime app_stop_at() const;
  int exit_code() const;
  Receipt make_receipt(MonotonicTime now) const;

  ServicePlan plan_;
  std::vector<Child> children_;
  std::vector<unsigned> depths_;  // how many helpers stop after the child, one after the other
  Random random_;
  ServiceState state_ = ServiceState::Preparing;
  MonotonicTime latest_;
  MonotonicTime started_at_;
  MonotonicTime entered_state_at_;
  Capture capture_ = Capture::Off;
  bool has_app_started_ = false;
  bool is_ready_published_ = false;
  bool is_finished_ = false;
  bool is_restored_ = false;
  std::optional<Stop> stop_;
  struct PastGeneration {
    ChildId child;
    Generation generation;
    bool is_alive;
  };
  std::vector<PastGeneration> past_generations_;  // found by restore(), to be cleared by start()

  Actions actions_;  // of the turn
  bool is_state_dirty_ = false;
};

}  // namespace pillion::supervisor::core
