#include "supervisor/host/process_host.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "supervisor/host/failpoint.h"

namespace pillion::supervisor::host {

// The child waits before its exec until the keeper has its pid: killed between the clone and the
// report, we leave nothing behind that nobody knows.
Result<SpawnedChild> ProcessHost::start_recorded(SpawnPlan& plan, ProcessId id, Pipe& go) {
  go.write_end.reset();  // the keeper has it, the child must not
  plan.go_pipe = go.read_end.get();
  failpoint("registered");
  auto child = spawn(plan);
  if (!child) return child;
  failpoint("cloned");
  auto reported = keeper_.report_spawned(id, child->pid, read_start_time(child->pid));
  if (!reported) return fail(reported.error());
  failpoint("recorded");
  return child;
}

Result<ProcessId> ProcessHost::start(SpawnPlan& plan, const std::string& name,
                                     std::uint64_t generation, const std::string& leaf,
                                     ProcessEvents events) {
  Pipe go;
  if (keeper_.has_go_pipe()) {
    auto pipe = make_pipe();
    if (!pipe) return fail(pipe.error());
    go = std::move(*pipe);
  }
  auto id = keeper_.register_child(name, generation, leaf, go.write_end.get());
  if (!id) return id;
  auto child = start_recorded(plan, *id, go);
  if (!child) {
    keeper_.acknowledge(*id);
    return fail(child.error());
  }
  Process& process = processes_[*id];
  process.pid = child->pid;
  process.pidfd = std::move(child->pidfd);
  process.error_pipe = std::move(child->error_pipe);
  process.plan_text.argv = plan.argv;
  process.plan_text.working_directory = plan.working_directory;
  process.plan_text.credentials = plan.credentials;
  process.plan_text.resource_limits = plan.resource_limits;
  process.plan_text.nice = plan.nice;
  process.plan_text.oom_score_adjust = plan.oom_score_adjust;
  process.plan_text.mounts = plan.mounts;
  process.plan_text.sandbox.view = plan.sandbox.view;
  process.events = std::move(events);
  static_cast<void>(set_nonblocking(process.error_pipe.get(), true));
  process.error_poll.emplace(loop_, process.error_pipe.get());
  process.error_poll->start(kReadable, [this, id = *id](int, int) { on_error_pipe(id, false); });
  return id;
}

ProcessId ProcessHost::adopt(const ChildRecord& record, ProcessEvents events) {
  Process& process = processes_[record.id];
  process.pid = record.pid;
  // The keeper reaps only after it recorded the exit: a running record's pid is still its own.
  if (record.state == keeper::ChildState::Running) {
    process.pidfd = Fd(static_cast<int>(::syscall(SYS_pidfd_open, record.pid, 0)));
    // It may have been reaped since we asked, and the number given to another.
    if (read_start_time(record.pid) != record.start_time) process.pidfd.reset();
  }
  process.events = std::move(events);
  return record.id;
}

// `is_known_started`: the rest of the report does not matter, an exec has happened.
void ProcessHost::on_error_pipe(ProcessId id, bool is_known_started) {
  const auto found = processes_.find(id);
  if (found == processes_.end() || !found->second.error_pipe) return;
  Process& process = found->second;
  read_spawn_report(process.error_pipe.get(), process.report);
  if (!process.report.is_complete && !is_known_started) return;
  process.error_poll.reset();
  process.error_pipe.reset();
  const SpawnReport report = std::move(process.report);
  const SpawnPlan plan = std::move(process.plan_text);
  process.plan_text = {};
  const ProcessEvents events = process.events;  // may forget the process
  std::vector<std::string> skipped;
  for (const SpawnFailure& each : report.skipped) skipped.push_back(describe_failure(plan, each));
  if (!skipped.empty() && events.on_skipped) events.on_skipped(skipped);
  const auto& failure = report.failure;
  if (events.on_started)
    events.on_started(failure, failure ? describe_failure(plan, *failure) : std::string());
}

void ProcessHost::on_exit(const ChildRecord& record) {
  auto found = processes_.find(record.id);
  if (found == processes_.end()) {
    keeper_.acknowledge(record.id);
    return;
  }
  if (found->second.error_pipe) on_error_pipe(record.id, true);
  found = processes_.find(record.id);
  if (found == processes_.end()) return;
  Process& process = found->second;
  process.has_exited = true;
  process.pidfd.reset();
  if (process.is_forgotten) return acknowledge(record.id);
  const auto on_exit = process.events.on_exit;
  if (on_exit) on_exit(record.wait_status);
}

pid_t ProcessHost::pid_of(ProcessId id) const {
  const auto found = processes_.find(id);
  return found == processes_.end() ? 0 : found->second.pid;
}

bool ProcessHost::send_signal(ProcessId id, int signal_number) {
  const auto found = processes_.find(id);
  if (found == processes_.end() || !found->second.pidfd) return false;
  return ::syscall(SYS_pidfd_send_signal, found->second.pidfd.get(), signal_number, nullptr, 0) ==
         0;
}

bool ProcessHost::send_group_signal(ProcessId id, int signal_number) {
  const auto found = processes_.find(id);
  if (found == processes_.end() || found->second.pid <= 1) return false;
  return ::kill(-found->second.pid, signal_number) == 0;
}

bool ProcessHost::group_exists(pid_t pid) {
  return pid > 1 && (::kill(-pid, 0) == 0 || errno == EPERM);
}

void ProcessHost::forget(ProcessId id) {
  const auto found = processes_.find(id);
  if (found == processes_.end()) return;
  found->second.events = {};
  found->second.is_forgotten = true;
  if (found->second.has_exited) acknowledge(id);
}

void ProcessHost::acknowledge(ProcessId id) {
  processes_.erase(id);
  keeper_.acknowledge(id);
}

}  // namespace pillion::supervisor::host
