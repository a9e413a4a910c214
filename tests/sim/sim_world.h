// A world around one Core in which everything that can happen to a service happens at random, but
// the same way again for the same seed: processes that fail to start, crash, ignore signals, leave
// others behind or hang in the kernel; probes, hooks and answers that are slow, lost or doubled;
// late timers; a suspended machine; a supervisor that is killed, also between two actions, and
// restored from what it had written. After each step the invariants hold, or step() says which does
// not.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "supervisor/core/core.h"
#include "supervisor/core/random.h"

namespace pillion::supervisor::core {

class SimWorld {
 public:
  // In an operated world somebody also stops, starts and restarts children and the service, changes
  // the configuration and deploys; and the supervisor itself stands still at times. `is_verbose`
  // prints every event and action to stdout.
  SimWorld(std::uint64_t seed, bool is_operated, bool is_verbose);

  // One event, or one advance of time. False when the service has finished.
  bool step();

  // The broken invariant, empty while all hold.
  const std::string& failure() const { return failure_; }
  std::uint64_t steps() const { return steps_; }
  const std::map<std::string, std::uint64_t>& seen() const { return seen_; }

 private:
  // What a process will do; drawn at its birth.
  struct Process {
    bool is_main_alive = true;
    bool has_leftovers = false;
    bool leaves_others = false;
    bool ignores_term = false;
    bool is_unkillable = false;  // in uninterruptible sleep for a long time
    bool is_exec_known = false;  // Spawned delivered
    bool is_gate_known = false;
    bool is_hook_known = false;
    bool is_exit_delivered = false;
    bool is_released = false;
    // Told to end outside of a stop's order: it was being replaced.
    bool is_being_replaced = false;
    // Of the plan that it was started by.
    bool needs_gate = false;
    bool needs_hook = false;
    std::optional<ExitStatus> exit;
  };
  using Key = std::pair<ChildId, Generation>;

  enum class Happening { Deliver, ProcessExit, LeftoversExit, RequestStop, Operate };
  struct Entry {
    MonotonicTime at;
    std::uint64_t order = 0;
    Happening happening = Happening::Deliver;
    Event event;
    Key key{};
    ExitStatus status;
    bool is_from_host_memory = false;  // lost with the supervisor
    bool operator<(const Entry& other) const {
      return at != other.at ? at < other.at : order < other.order;
    }
  };

  void make_plan();
  ChildPlan draw_child(std::string name, Role role);
  void draw_policies(ChildPlan& child);
  static void link(ServicePlan& plan);
  Replan draw_replan();
  Event draw_wish();
  void operate();
  void note_wish(const Event& event);
  ChildStatus status_of(ChildId child) const;
  bool chance(double probability) { return random_.unit() < probability; }
  Duration between(Duration low, Duration high);
  void schedule(Entry entry);
  void deliver_later(Event event, Duration delay, bool is_from_host_memory);
  void happen(Entry entry);
  void deliver(const Event& event);
  void note_delivery(const Event& event);
  void run(Actions actions);
  void carry_out(const Action& action);
  void carry_out_network(const Action& action, bool is_lost);
  void carry_out_change(const Action& action, bool is_lost);
  void on_plan_changed();
  void on_spawn(const Spawn& spawn);
  void on_probe(const RunProbe& probe);
  void on_signal(const SendSignal& signal);
  void end_process(Key key, ExitStatus status);
  void kill(Key key);
  void crash_supervisor();
  void request_stop();

  void fail(const std::string& what);
  void check_order_of_end(ChildId child, Generation generation, const char* what);
  void check_start(const Spawn& spawn);
  void check_alone(const Spawn& spawn);
  void check_finish(const Finish& finish);
  std::string name(ChildId child) const { return plan_.children[child].name; }

  std::uint64_t seed_;
  bool is_verbose_;
  bool is_operated_;
  Random random_;
  Random wishes_;         // another stream, so that the rest of a world does not depend on it
  ServicePlan plan_;      // of the core: children by slot
  ServicePlan accepted_;  // the file, as the host keeps it
  ServicePlan wanted_;    // of the last Replan
  std::optional<ChildPlan> candidate_;
  std::optional<ChildPlan> wanted_app_;  // of the last DeployRequested
  ChildId traffic_to_ = 0;
  bool is_reload_open_ = false;
  std::uint64_t next_name_ = 0;
  std::optional<Core> core_;
  MonotonicTime now_{std::chrono::hours(1)};
  Duration boot_ahead_{std::chrono::hours(3)};  // boot time − monotonic time; grows in a suspend
  std::vector<Entry> queue_;                    // a heap, the next on top
  std::uint64_t next_order_ = 0;

  std::map<Key, Process> processes_;
  std::vector<Event> past_;                                    // to be repeated
  std::map<std::pair<Key, ProbeKind>, std::uint64_t> probes_;  // outstanding
  std::optional<Snapshot> written_;
  bool is_network_up_ = false;
  bool is_capture_live_ = false;
  bool has_app_started_ = false;
  std::vector<bool> has_started_;
  std::vector<bool> is_init_done_;
  std::set<ChildId> occupied_before_;  // slots with an owner before the last Replan
  std::set<ChildId> may_run_again_;    // init tasks that a wish has met while they ended
  bool is_finished_ = false;

  bool is_stop_known_ = false;  // the core has taken in a stop
  MonotonicTime stop_deadline_;
  MonotonicTime written_stop_deadline_;
  bool is_stop_asked_for_ = false;  // by the event of this step
  bool is_stop_forced_ = false;     // kill at once
  Duration stop_slack_{};
  Duration stuck_slack_{};  // once a process was born that hangs in the kernel
  double crash_probability_ = 0;
  double odd_probability_ = 0;  // of lost, doubled and failed things

  std::uint64_t steps_ = 0;
  int steps_without_time_ = 0;
  std::string failure_;
  std::map<std::string, std::uint64_t> seen_;
};

}  // namespace pillion::supervisor::core
