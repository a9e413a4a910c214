// The glue of one service: facts of the machine go into the core as events, the core's actions are
// carried out by the parts of host/. Holds no decision of its own beyond exit and persistence.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "config/service.h"
#include "runtime/loop.h"
#include "runtime/notify.h"
#include "supervisor/control/status_report.h"
#include "supervisor/core/core.h"
#include "supervisor/host/accepted_file.h"
#include "supervisor/host/capture_guard.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/child_slots.h"
#include "supervisor/host/children.h"
#include "supervisor/host/deployment.h"
#include "supervisor/host/event_history.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/metrics_endpoints.h"
#include "supervisor/host/probe_runner.h"
#include "supervisor/host/process_host.h"
#include "supervisor/host/reload_plan.h"
#include "supervisor/host/resources.h"
#include "supervisor/host/run.h"
#include "supervisor/host/service_metrics.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/service_setup.h"
#include "supervisor/host/state_file.h"
#include "supervisor/host/upgrade.h"

namespace pillion::supervisor::host {

class Supervisor {
 public:
  Supervisor(Loop& loop, KeeperClient& keeper, AcceptedFile accepted, ServicePaths paths,
             const RunOptions& options);
  ~Supervisor();

  // Starts the service, or continues where an earlier supervisor ended.
  Result<void> start();

  // For the control socket.
  control::StatusReport report();
  core::ServiceStatus status() const { return core_->status(now()); }
  // From an operator; what it caused is on disk when this returns.
  void request(core::Event event);
  // What a reload to `next`, as loaded, would do.
  ReloadPlan plan_reload(const config::Service& next) const;
  // Goes over to `next`, as loaded. An error, with nothing changed, when that cannot be: the
  // message says why. What it comes to is told by events of the kinds reload_*.
  Result<void> reload(config::Service next);
  // A reload is not finished yet.
  bool is_reloading() const { return is_reloading_; }
  // SIGHUP came: somebody who knows the file is to reload it.
  void on_hangup(std::function<void()> callback) { on_hangup_ = std::move(callback); }
  // Called after each change, from the loop or from request().
  void on_change(std::function<void()> callback) { on_change_ = std::move(callback); }
  Resources& resources() { return resources_; }
  // Every child once; while a deploy goes on, the app that has the traffic.
  ServiceFacts facts();
  // Our own metrics as text, and where children that run serve theirs.
  std::string render_metrics();
  std::vector<ChildEndpoint> metrics_endpoints() const;
  // A rolling replace of the app; its number. Refused with errno EINVAL when it can never be, else
  // because of what goes on now.
  Result<std::uint64_t> deploy(const DeployWish& wish);
  // Ends one that is not promoted yet.
  Result<void> cancel_deploy();
  const Deployment& deployment() const { return deployment_; }
  // On disk when this returns.
  void stop(std::optional<Duration> grace, std::string reason);
  EventHistory& history() { return history_; }
  pid_t keeper_pid() const { return keeper_.keeper_pid(); }
  unsigned keeper_protocol() const { return keeper_.version(); }
  // Checks the installed programs, then makes way for them: this process ends, the children do not.
  // `on_checked` runs once, from the loop, shortly before that, or with the reason for a refusal.
  void upgrade(std::function<void(Result<void>)> on_checked);
  // Called once with the action Finish, before the loop stops.
  void on_finish(std::function<void(const core::Finish&)> callback) {
    on_finish_ = std::move(callback);
  }

 private:
  struct Carrier;  // one overload per action

  MonotonicTime now() const { return clock_.now(); }
  void post(core::Event event);
  void record(control::EventRecord event);
  void keep(const core::Report& report);
  // Of what the host does by itself, beside the core's reports.
  void note(std::string kind, std::string text);
  void read_past();
  Result<void> lend_terminal();
  void restore_or_create(const std::optional<core::Snapshot>& snapshot);
  void restore_slots(const core::Snapshot& snapshot);
  void change_plan();
  void use_plan(core::ChildId slot);
  void recapture();
  void finish_reload();
  core::ChildId app_slot() const;
  std::optional<core::Snapshot> read_snapshot();
  void write_state();
  void run_queue();
  void post_queue();
  void carry_out(const core::Actions& actions);
  void arm_wakeup();
  void on_signal(int signal_number, std::uint64_t serial);
  void handle_signal(int signal_number);
  void make_way();
  void publish(bool is_ready);
  void tell_parent();
  void finish(const core::Finish& action);

  Loop& loop_;
  KeeperClient& keeper_;
  AcceptedFile accepted_;
  config::Service service_;  // the accepted one, component tables filled in
  ChildSlots slots_;
  ServicePaths paths_;
  SystemClock clock_;
  EventHistory history_;
  ServiceMetrics metrics_;
  ProcessHost processes_;
  std::unique_ptr<Cgroups> cgroups_;
  Resources resources_;
  ServiceSetup setup_;
  Children children_;
  ProbeRunner probes_;
  Deployment deployment_;
  CaptureGuard capture_guard_;
  std::unique_ptr<core::Core> core_;
  std::deque<core::Event> queue_;
  bool is_carrying_out_ = false;
  Timer wakeup_;
  Timer run_later_;
  Notifier parent_;
  std::string parent_status_;
  StateFile state_file_;
  bool lends_terminal_;
  std::unique_ptr<AppTerminal> terminal_;
  bool has_told_ready_ = false;
  bool has_told_stopping_ = false;
  std::string boot_id_;
  std::uint64_t last_signal_ = 0;  // serial number of the last signal that was handled
  Timer alive_;
  UpgradeCheck upgrade_check_;
  Timer settled_;  // after a start or a reload
  Timer make_way_;
  std::vector<std::string> remarks_;  // what this machine does not let us do
  std::function<void(const core::Finish&)> on_finish_;
  std::function<void()> on_change_;
  std::function<void()> on_hangup_;
  bool is_reloading_ = false;
  bool is_plan_changed_ = false;
  std::string reload_refusal_;
  std::string refusal_;  // the core's, of the last request
};

}  // namespace pillion::supervisor::host
