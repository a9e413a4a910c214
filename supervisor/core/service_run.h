// The service at work behind Core: what concerns several children. Order of starts, capture,
// readiness of the whole (service_start.cc), the stop (stop.cc), reloads (reload.cc) and
// deploys (deploy.cc). Private to supervisor/core.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/core/actions.h"
#include "supervisor/core/boot_times.h"
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
// How long the shift of the traffic may take before a deploy is rolled back: the host waits in it
// until the old app has ended what it had begun, and bounds that itself.
inline constexpr Duration kShiftTimeout = std::chrono::minutes(15);
// The same of the shift back.
inline constexpr Duration kShiftBackTimeout = std::chrono::seconds(30);
// How long a shift back may be silent before it is asked for again.
inline constexpr Duration kShiftAgain = std::chrono::seconds(3);
// A wakeup that comes later than this is no delay but a standstill: a stopped supervisor, a paused
// machine. Nobody could answer meanwhile.
inline constexpr Duration kStandstill = std::chrono::seconds(1);

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
    // A restart: when all are gone, and not before, the service starts again.
    std::optional<MonotonicTime> restart_at;
    bool keeps_failures = false;
  };

  // A rolling replace of the app: the candidate warms up beside the current one, the traffic is
  // shifted, the current one retires; or the candidate goes and nothing has changed.
  struct Deploy {
    enum class Phase { Warming, Shifting, Retiring, RollingBack };
    Phase phase = Phase::Warming;
    ChildId current = 0;
    ChildId candidate = 0;
    MonotonicTime deadline;  // of Warming and Shifting
    Duration min_ready{};
    std::optional<MonotonicTime> ready_since;
    bool has_asked_to_shift = false;
    std::string reason;  // of a rollback
    // RollingBack: when to ask (again) to shift the traffic back; empty = it is back.
    std::optional<MonotonicTime> shift_back_at;
  };

  void resume(Turn& turn);
  Turn make_turn(MonotonicTime now);
  Turn make_turn_after_wait(MonotonicTime now);
  Actions finish_turn();
  bool transition(ServiceEvent event, Turn& turn);
  void perform(ServiceEffect effect, Turn& turn);
  void settle(Turn& turn);
  bool settle_once(Turn& turn);
  void refuse(Turn& turn, const std::string& what, const std::string& reason);

  // What comes from outside.
  void on_event(const NetworkCreated& event, Turn& turn);
  void on_event(const NetworkFailed& event, Turn& turn);
  void on_event(const NetworkRemoved& event, Turn& turn);
  void on_event(const CaptureLive& event, Turn& turn);
  void on_event(const CaptureFailed& event, Turn& turn);
  void on_event(const StopRequested& event, Turn& turn);
  void on_event(const RestartServiceRequested& event, Turn& turn);
  void on_event(const Replan& event, Turn& turn);
  void on_event(const DeployRequested& event, Turn& turn);
  void on_event(const DeployCancelled& event, Turn& turn);
  void on_event(const TrafficShifted& event, Turn& turn);
  void on_event(const ShiftFailed& event, Turn& turn);
  template<class ChildEvent>
  void on_event(const ChildEvent& event, Turn& turn);

  // Starting and Running.
  bool settle_starts(Turn& turn);
  bool settle_capture(Turn& turn);
  bool settle_outcomes(Turn& turn);
  bool settle_outcome(const Child& child, Turn& turn);
  bool settle_restart_all(Turn& turn);
  void settle_readiness(Turn& turn);
  // The first child that `child` still waits for, null when none.
  const Child* choose_blocker(const Child& child) const;
  bool is_ready() const;
  std::string why(const Child& child, MonotonicTime now) const;
  std::string why(MonotonicTime now) const;

  // Slots.
  ChildId find_slot(const std::string& name) const;  // children_.size() when there is none
  ChildId app_slot() const;
  void refresh_plan();

  // A reload.
  std::string why_no_reload(const Replan& event) const;
  std::vector<ChildId> assign_slots(const ServicePlan& plan);
  void apply(Child& child, const ChildPlan& plan, ChildChange change, Turn& turn);
  bool settle_reload(Turn& turn);
  bool settle_leaving(Child& child, Turn& turn);
  bool settle_outdated(Child& child, Turn& turn);
  bool is_needed(const Child& child) const;
  bool has_turn_come(const ChildPlan& plan) const;
  bool is_reload_done() const;

  // A deploy.
  std::string why_no_deploy(const DeployRequested& event) const;
  bool settle_deploy(Turn& turn);
  bool settle_warming(Turn& turn);
  bool settle_shifting(Turn& turn);
  bool settle_rolling_back(Turn& turn);
  bool settle_last_of_deploy(ChildId leaving, bool is_promoted, Turn& turn);
  bool roll_back(Turn& turn, const std::string& reason);
  void resume_deploy(Turn& turn);
  std::optional<MonotonicTime> deploy_wakeup() const;

  // The stop, and the restart of the whole.
  void request_stop(Turn& turn, Duration grace, std::string reason,
                    std::optional<int> forced_exit_code);
  void request_restart(Turn& turn, const std::string& reason, Duration delay, bool keeps_failures);
  void turn_restart_into_stop(const StopRequested& event, Turn& turn);
  void shorten_stop(Turn& turn, Duration grace);
  void begin_stop(Turn& turn);
  bool settle_draining(Turn& turn);
  bool settle_draining_app(Child& child, Turn& turn);
  bool settle_helpers(Turn& turn);
  bool settle_all_gone(Turn& turn);
  void overrun(Turn& turn);
  void kill_children(Turn& turn);
  void rewind(Turn& turn);
  void finish(Turn& turn);
  bool depends_on(const Child& child, const Child& on) const;
  bool are_dependents_gone(const Child& child) const;
  bool is_app_gone() const;
  bool are_all_gone() const;
  // When a child is killed at the latest, whatever still waits.
  MonotonicTime cutoff(const Child& child) const;
  MonotonicTime app_stop_at() const;
  int exit_code() const;
  Receipt make_receipt(MonotonicTime now) const;

  // Of restore().
  std::vector<ChildId> restore_slots_of(const ServicePlan& given, const Snapshot& in);
  void restore_slots(const ServicePlan& given, const Snapshot& in);
  void restore_stop(const StopSnapshot& in, const BootTimes& times);
  void adopt(const std::vector<Survivor>& survivors);

  ServicePlan plan_;  // children in slot order
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
  std::optional<Deploy> deploy_;
  bool is_reload_under_way_ = false;
  // Found by restore(): in the plan, but gone or about to go by the snapshot, which is of a reload
  // that the accepted file does not know of. To be had again by start().
  std::vector<std::pair<ChildId, ChildPlan>> reclaimed_;
  bool has_candidate_plan_ = true;  // false: restored without it
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
