// One child at work: its state, the facts of its current generation, and the effects of each
// transition. Owned by ServiceRun, which decides what concerns several children. Every change of
// state goes through transition(); settle() turns facts and passed deadlines into events.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/core/actions.h"
#include "supervisor/core/child_machine.h"
#include "supervisor/core/events.h"
#include "supervisor/core/plan.h"
#include "supervisor/core/probe_schedule.h"
#include "supervisor/core/random.h"
#include "supervisor/core/report.h"
#include "supervisor/core/snapshot.h"
#include "supervisor/core/status.h"

namespace pillion::supervisor::core {

// Time between SIGTERM and SIGKILL where no other grace applies.
inline constexpr Duration kLeftoverGrace = std::chrono::seconds(2);
// How long a SIGKILL may take until the child is called stuck.
inline constexpr Duration kKillConfirmation = std::chrono::seconds(10);
// How long the host may take to report Spawned or SpawnFailed.
inline constexpr Duration kSpawnTimeout = std::chrono::seconds(30);
// After a standstill: how long what has happened meanwhile may take to be told.
inline constexpr Duration kNewsDelay = std::chrono::seconds(2);
// For how long a proxy that is replaced still answers, and asks its clients to go.
inline constexpr Duration kReplacementDrain = std::chrono::seconds(1);
// Least time between two starts of a helper that is restarted without backoff.
inline constexpr Duration kRestartFloor = std::chrono::seconds(1);

// What one call of the core works on.
struct Turn {
  MonotonicTime now;
  Actions& actions;
  Random& random;
  bool& is_state_dirty;
  bool is_service_stopping = false;
  bool has_app_started = false;  // ever, in this life of the service
  Duration stop_grace{};         // of the service, for the replacement of a generation
  std::optional<MonotonicTime> stop_deadline;
  bool has_plan_changed = false;  // of some child

  void report(EventKind kind, Report::Level level, std::string text, ReportFields fields = {}) {
    actions.push_back(Report{level, std::move(text), kind, {}, 0, std::move(fields)});
  }
};

// Why a child is at rest without the service having stopped it.
enum class RestReason {
  None,
  PolicyForbids,  // the restart policy says not to start it again
  GaveUp,         // max_restarts
  CannotStart,    // it could not be started at all
  ExitStop,       // exit_actions: stop the service
  Held,           // exit_actions: hold
};

// How a slot stands to the plan.
enum class Membership {
  Member,
  Leaving,    // not in the plan any more, or the old app of a deploy; ends and is not started again
  Candidate,  // the next app of a deploy; its first end is its last
  Vacant,     // nobody's slot; keeps its number and its count of generations
};

class Child {
 public:
  Child(ChildId id, const ChildPlan& plan);

  ChildId id() const { return id_; }
  const ChildPlan& plan() const { return plan_; }
  ChildState state() const { return state_; }
  Desired desired() const { return desired_; }
  Generation generation() const { return generation_; }
  Membership membership() const { return membership_; }
  bool is_member() const { return membership_ == Membership::Member; }
  bool is_vacant() const { return membership_ == Membership::Vacant; }
  // The plan that takes effect with the next generation; null when there is none.
  const ChildPlan* next_plan() const { return next_plan_ ? &*next_plan_ : nullptr; }
  // Its gates count as for a first start: a new plan has never started.
  bool starts_afresh() const { return starts_afresh_ || !has_started_once_; }
  bool is_helper() const { return plan_.role != Role::Init && plan_.role != Role::App; }
  bool has_started_once() const { return has_started_once_; }
  bool is_ready() const;
  RestReason rest_reason() const { return rest_reason_; }
  bool was_killed() const { return was_killed_; }
  bool has_stranger() const { return stranger_.has_value(); }
  const std::map<std::string, std::int64_t>& receipt() const { return receipt_; }
  // The last exit, with success_exit_codes mapped to 0; empty when it never ended.
  std::optional<int> final_exit_code() const;
  const std::optional<ExitStatus>& last_exit() const { return last_exit_; }

  // The one place where the state changes. False when the table ignores the event. `kill_at` is
  // when a SignalStop or Tighten turns into a kill.
  bool transition(ChildEvent event, Turn& turn, std::optional<MonotonicTime> kill_at = {});

  // Facts from outside; each is ignored for another generation.
  void on_event(const Spawned& event, Turn& turn);
  void on_event(const SpawnFailed& event, Turn& turn);
  void on_event(const Exited& event, Turn& turn);
  void on_event(const CgroupEmpty& event, Turn& turn);
  void on_event(const Notified& event, Turn& turn);
  void on_event(const GateSeen& event, Turn& turn);
  void on_event(const ProbeFinished& event, Turn& turn);
  void on_event(const HookFinished& event, Turn& turn);
  void on_event(const RestartRequested& event, Turn& turn);
  void on_event(const RetryRequested& event, Turn& turn);
  void on_event(const StopChildRequested& event, Turn& turn);
  void on_event(const StartChildRequested& event, Turn& turn);

  // True when something changed; call until it is false.
  bool settle(Turn& turn);
  std::optional<MonotonicTime> next_wakeup() const;

  // The service stops: no new generation for init and app, hooks run, liveness ends.
  void begin_stop(Turn& turn);
  // Its turn to be stopped has come. Any hook still running is abandoned.
  void stop(Turn& turn, MonotonicTime kill_at);
  void kill(Turn& turn);
  bool is_hook_running() const { return pre_stop_ == HookProgress::Running; }
  // Is there a process that has not yet got its stop signal?
  bool is_unsignalled() const;
  // Ends the running generation, pre_stop first, to start another one. What an operator or a new
  // plan wishes does not count as a failure.
  void replace(Turn& turn, std::string reason, bool counts_as_failure,
               std::optional<Duration> grace = {});
  // Ends it as replace() does, and leaves it down.
  void hold(Turn& turn, std::string reason, std::optional<Duration> grace = {});
  // Wants it up, from wherever it is; forgets past failures.
  void revive(Turn& turn);
  // restart_all: an exit action asked for it since the last call; the delay until the next start.
  std::optional<Duration> take_restart_all();

  // Another plan, at once and without a new generation.
  void take_plan(const ChildPlan& plan, Turn& turn);
  // Another plan for the next generation; at once when there is no process.
  void set_next_plan(const ChildPlan& plan, Turn& turn);
  void take_next_plan(Turn& turn);
  void set_dependencies(const ChildPlan& plan);
  void set_membership(Membership membership) { membership_ = membership; }
  // A vacant slot gets an owner, who waits for its turn.
  void occupy(const ChildPlan& plan, Membership membership, Turn& turn);
  // A restart of the service: as if it had never run, unless `keeps_failures`.
  void rewind(Turn& turn, bool keeps_failures);
  // The next generation gets a higher number than `generation`.
  void raise_generation(Generation generation);
  // We did not run for a while: what waited for an answer or a sign of life gets that time back.
  void forgive(Duration stall, const Turn& turn);
  // Tells of a change of is_ready().
  void report_readiness(Turn& turn);

  // One sentence about why it is not (yet) ready; empty when all is well. Without the subject.
  std::string why(MonotonicTime now) const;
  std::string gate_progress() const;
  std::string probe_progress() const;

  ChildStatus status(MonotonicTime now) const;
  // Of a child that is not in the plan any more: enough to end it.
  static ChildPlan kept_plan(const ChildSnapshot& in);
  ChildSnapshot snapshot(MonotonicTime now, Duration boot_now) const;
  void restore(const ChildSnapshot& snapshot, MonotonicTime now, Duration boot_now);
  // After restore(): what the host knows of the process. Null = nothing.
  void adopt(const Survivor* survivor);
  // After restore(): it was to be replaced.
  void restore_next_plan(const ChildPlan& plan) { next_plan_ = plan; }
  // After restore() and adopt(): the actions of the present state once more.
  void resume(Turn& turn);

 private:
  enum class HookProgress { NotRun, Running, Done };

  // What is known of the current generation; reset by each start.
  struct GenerationFacts {
    int pid = 0;
    std::optional<MonotonicTime> exec_at;
    bool is_post_start_done = false;
    bool is_gate_seen = false;        // the configured gate, startup probe aside
    bool has_announced_stop = false;  // STOPPING=1, or RELOADING=1 until READY=1
    bool is_main_gone = false;
    bool has_leftovers = false;
    bool is_cgroup_empty = false;
    std::optional<ExitStatus> exit;
    std::optional<MonotonicTime> watchdog_at;
    // Why we ended it ourselves; empty when we did not.
    std::string replace_reason;
    bool is_replaced_by_wish = false;
    // Of a failed spawn.
    std::string spawn_error;
    int spawn_exit_code = 0;  // 126, 127, 71; 0 = transient
  };

  bool is_current(Generation generation) const {
    return generation == generation_ && generation != 0;
  }
  void report(Turn& turn, EventKind kind, Report::Level level, std::string text,
              ReportFields fields = {}) const;
  void perform(ChildEffect effect, Turn& turn, std::optional<MonotonicTime> kill_at);
  void begin_generation(Turn& turn);
  void run_pre_stop(Turn& turn, MonotonicTime until);
  void begin_drain(Turn& turn);
  void cancel_post_start(Turn& turn);
  void cancel_pre_stop(Turn& turn);
  void clear_leftovers(Turn& turn);
  void report_state(Turn& turn) const;
  void renew_probes(const ChildPlan& plan, Turn& turn);
  void forget_failures();
  void open_gate(Turn& turn);
  void start_probes(Turn& turn);
  void resume_probes(Turn& turn);
  void stop_probes(Turn& turn, bool is_readiness_kept);
  bool is_gate_open() const;
  bool settle_deadline(Turn& turn);
  bool settle_health(Turn& turn);
  bool settle_hook(Turn& turn);
  bool settle_end(Turn& turn);
  ChildEvent choose_after_end(Turn& turn);
  std::optional<ChildEvent> choose_by_exit_action(Turn& turn, bool is_good);
  ChildEvent choose_restart(Turn& turn);
  bool is_success(const ExitStatus& status) const;
  std::string describe_end() const;
  Duration ran_for(MonotonicTime now) const;
  std::optional<MonotonicTime> start_deadline() const;

  ChildId id_;
  ChildPlan plan_;
  ChildState state_ = ChildState::Waiting;
  Desired desired_ = Desired::Up;
  Generation generation_ = 0;
  MonotonicTime entered_state_at_;
  std::optional<MonotonicTime> deadline_;  // of the state
  GenerationFacts facts_;
  std::optional<ProbeSchedule> startup_;
  std::optional<ProbeSchedule> readiness_;
  std::optional<ProbeSchedule> liveness_;
  HookProgress pre_stop_ = HookProgress::NotRun;
  std::optional<MonotonicTime> hook_lost_at_;

  bool has_started_once_ = false;
  unsigned restarts_ = 0;
  unsigned failures_in_a_row_ = 0;
  std::vector<MonotonicTime> recent_restarts_;
  Duration next_delay_{};
  std::optional<ExitStatus> last_exit_;
  std::optional<int> cannot_start_code_;
  RestReason rest_reason_ = RestReason::None;
  std::string failure_reason_;
  std::string status_text_;
  std::map<std::string, std::int64_t> receipt_;
  bool was_killed_ = false;
  bool wants_restart_all_ = false;
  Membership membership_ = Membership::Member;
  std::optional<ChildPlan> next_plan_;
  bool starts_afresh_ = false;
  bool is_ready_reported_ = false;
  std::optional<Generation> stranger_;  // a process of another generation, being killed
};

}  // namespace pillion::supervisor::core
