#include "supervisor/host/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fmt/format.h>

#include "supervisor/host/child_stage.h"

namespace pillion::supervisor::host {
namespace {

constexpr int kCloneRetryMsMax = 20;  // 5 + 10 + 20 in all

// The memory behind a ChildStage: everything the child's pointers point into.
struct PreparedStage {
  ChildStage stage;
  std::vector<std::string> env_strings;
  std::vector<char*> argv;
  std::vector<char*> env;
  std::vector<const char*> join_files;
  std::vector<StageMount> mounts;
  std::vector<int> mount_fds;
  std::vector<StageFd> fds;
  std::string oom_score_adjust;
  Fd null_fd;
};

void prepare_environment(const SpawnPlan& plan, PreparedStage& prepared) {
  for (const auto& [key, value] : plan.env) prepared.env_strings.push_back(key + "=" + value);
  if (!plan.listeners.empty()) {
    std::string names;
    for (const auto& [name, fd] : plan.listeners) names += (names.empty() ? "" : ":") + name;
    prepared.env_strings.push_back(fmt::format("LISTEN_FDS={}", plan.listeners.size()));
    prepared.env_strings.push_back("LISTEN_FDNAMES=" + names);
    prepared.env_strings.push_back("LISTEN_PID=" + std::string(12, ' '));
  }
  for (std::string& entry : prepared.env_strings) prepared.env.push_back(entry.data());
  if (!plan.listeners.empty()) {
    prepared.stage.listen_pid_digits = prepared.env.back() + std::strlen("LISTEN_PID=");
  }
  prepared.env.push_back(nullptr);
  for (const auto& argument : plan.argv)
    prepared.argv.push_back(const_cast<char*>(argument.c_str()));
  prepared.argv.push_back(nullptr);
}

void prepare_fds(const SpawnPlan& plan, PreparedStage& prepared) {
  int target = 3;
  for (const auto& [name, fd] : plan.listeners) prepared.fds.push_back({fd, target++});
  if (plan.notification_fd) {
    prepared.fds.push_back({plan.notification_fd->second, plan.notification_fd->first});
  }
  prepared.stage.fds = prepared.fds.data();
  prepared.stage.fd_count = prepared.fds.size();
  prepared.stage.standard_input = plan.standard_input;
  prepared.stage.standard_output = plan.standard_output;
  prepared.stage.standard_error = plan.standard_error;
  prepared.stage.takes_terminal = plan.takes_terminal;
  prepared.stage.null_fd = prepared.null_fd.get();
  prepared.stage.go_pipe = plan.go_pipe;
}

void prepare_mounts(const SpawnPlan& plan, PreparedStage& prepared) {
  for (const BindMount& mount : plan.mounts) {
    prepared.mounts.push_back({mount.source.c_str(), mount.target.c_str(), mount.is_read_only});
  }
  prepared.stage.mounts = prepared.mounts.data();
  prepared.stage.mount_count = prepared.mounts.size();
  prepared.mount_fds.assign(prepared.mounts.size(), -1);
  prepared.stage.mount_fds = prepared.mount_fds.data();
  prepared.stage.network_namespace = plan.network_namespace;
  prepared.stage.mount_namespace = plan.mount_namespace;
  prepared.stage.shares_mount_namespace = plan.shares_mount_namespace;
  prepared.stage.sandbox = &plan.sandbox;
}

void prepare_privileges(const SpawnPlan& plan, ChildStage& stage) {
  if (plan.credentials) {
    stage.has_credentials = true;
    stage.uid = plan.credentials->uid;
    stage.gid = plan.credentials->gid;
    stage.groups = plan.credentials->groups.data();
    stage.group_count = plan.credentials->groups.size();
  }
  for (const int capability : plan.capabilities) stage.capabilities |= 1ull << capability;
  stage.drops_privileges = plan.drops_privileges;
  stage.no_new_privileges = plan.no_new_privileges;
  stage.resource_limits = plan.resource_limits.data();
  stage.resource_limit_count = plan.resource_limits.size();
  stage.nice = plan.nice;
  stage.umask = plan.umask;
}

Result<void> prepare(const SpawnPlan& plan, PreparedStage& prepared) {
  auto null_fd = open_file("/dev/null", O_RDWR);
  if (!null_fd) return fail(null_fd.error());
  prepared.null_fd = std::move(*null_fd);
  prepare_environment(plan, prepared);
  prepare_fds(plan, prepared);
  prepare_mounts(plan, prepared);
  prepare_privileges(plan, prepared.stage);
  prepared.oom_score_adjust = std::to_string(plan.oom_score_adjust);
  prepared.stage.argv = prepared.argv.data();
  prepared.stage.env = prepared.env.data();
  prepared.stage.working_directory = plan.working_directory.c_str();
  prepared.stage.oom_score_adjust = prepared.oom_score_adjust.c_str();
  // A parent outside of its pid namespace has the number 0.
  const bool has_own_pids = plan.pid_namespace >= 0 || plan.makes_pid_namespace;
  prepared.stage.expected_parent = has_own_pids ? 0 : ::getppid();
  return {};
}

void set_join_files(const SpawnPlan& plan, bool with_v2, PreparedStage& prepared) {
  prepared.join_files.clear();
  if (plan.cgroup != nullptr) {
    if (with_v2 && !plan.cgroup->v2_procs.empty()) {
      prepared.join_files.push_back(plan.cgroup->v2_procs.c_str());
    }
    for (const auto& file : plan.cgroup->join_files) prepared.join_files.push_back(file.c_str());
  }
  prepared.join_files.push_back(nullptr);
  prepared.stage.join_files = prepared.join_files.data();
}

// Returns as fork does; `*pidfd` is set in the parent.
long clone_sibling(std::uint64_t flags, int cgroup_directory, int* pidfd) {
  clone_args arguments{};
  arguments.flags = flags;
  arguments.pidfd = reinterpret_cast<std::uint64_t>(pidfd);
  arguments.exit_signal = 0;  // with CLONE_PARENT the kernel takes our own: SIGCHLD to the keeper
  if (cgroup_directory >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<std::uint64_t>(cgroup_directory);
  }
  return ::syscall(SYS_clone3, &arguments, sizeof arguments);
}

long clone_sibling_without_clone3(std::uint64_t flags, int* pidfd) {
  return ::syscall(SYS_clone, flags, nullptr, pidfd, nullptr, 0);
}

// While it lives, what this thread clones is born in another pid namespace.
class PidNamespaceVisit {
 public:
  static Result<PidNamespaceVisit> begin(int pid_namespace) {
    PidNamespaceVisit visit;
    if (pid_namespace < 0) return visit;
    auto own = open_file("/proc/self/ns/pid", O_RDONLY);
    if (!own) return fail(own.error());
    if (::setns(pid_namespace, CLONE_NEWPID) < 0) return fail_errno("cannot enter a pid namespace");
    visit.own_ = std::move(*own);
    return visit;
  }
  PidNamespaceVisit(PidNamespaceVisit&&) = default;
  PidNamespaceVisit& operator=(PidNamespaceVisit&&) = default;
  // Whoever entered may return; a supervisor that cannot must not go on cloning.
  ~PidNamespaceVisit() {
    if (own_ && ::setns(own_.get(), CLONE_NEWPID) < 0) std::abort();
  }

 private:
  PidNamespaceVisit() = default;
  Fd own_;
};

// The child never returns from here.
Result<SpawnedChild> clone_child(const SpawnPlan& plan, PreparedStage& prepared) {
  int pidfd = -1;
  std::uint64_t flags = CLONE_PARENT | CLONE_PIDFD;
  if (plan.makes_pid_namespace) flags |= CLONE_NEWPID;
  auto visit = PidNamespaceVisit::begin(plan.pid_namespace);
  if (!visit) return fail(visit.error());
  const int directory = plan.cgroup != nullptr ? plan.cgroup->v2_directory.get() : -1;
  set_join_files(plan, false, prepared);
  long pid = clone_sibling(flags, directory, &pidfd);
  if (pid == 0) run_child_stage(prepared.stage);
  if (pid < 0 && directory >= 0) {  // no CLONE_INTO_CGROUP before 5.7: the child joins by itself
    set_join_files(plan, true, prepared);
    pid = clone_sibling(flags, -1, &pidfd);
    if (pid == 0) run_child_stage(prepared.stage);
  }
  if (pid < 0 && (errno == ENOSYS || errno == EPERM)) {
    pid = clone_sibling_without_clone3(flags, &pidfd);
    if (pid == 0) run_child_stage(prepared.stage);
  }
  if (pid < 0) return fail_errno("cannot create a process");
  return SpawnedChild{static_cast<pid_t>(pid), Fd(pidfd), Fd()};
}

// A limit on processes may be met for a moment only, by a burst of others. Longer waits are the
// restart policy's.
Result<SpawnedChild> clone_child_patiently(const SpawnPlan& plan, PreparedStage& prepared) {
  auto child = clone_child(plan, prepared);
  for (int milliseconds = 5; milliseconds <= kCloneRetryMsMax; milliseconds *= 2) {
    if (child || child.error().errno_value() != EAGAIN) return child;
    const timespec pause{0, milliseconds * 1'000'000};
    ::nanosleep(&pause, nullptr);
    child = clone_child(plan, prepared);
  }
  if (child || child.error().errno_value() != EAGAIN) return child;
  return fail(Error(
      "cannot create a process: a limit on processes is reached: pids.max of a cgroup above the "
      "child's, RLIMIT_NPROC of the user, kernel.pid_max or kernel.threads-max",
      EAGAIN));
}

}  // namespace

Result<SpawnedChild> spawn(const SpawnPlan& plan) {
  PreparedStage prepared;
  if (auto done = prepare(plan, prepared); !done) return fail(done.error());
  auto pipe = make_pipe();
  if (!pipe) return fail(pipe.error());
  prepared.stage.error_pipe = pipe->write_end.get();
  // No signal handler of ours may run in the child before it reset them.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  auto child = clone_child_patiently(plan, prepared);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!child) return child;
  child->error_pipe = std::move(pipe->read_end);
  return child;
}

void read_spawn_report(int error_pipe, SpawnReport& report) {
  while (!report.is_complete) {
    SpawnFailure failure;
    const ssize_t count = ::read(error_pipe, &failure, sizeof failure);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    const bool is_record = count == static_cast<ssize_t>(sizeof failure);
    if (is_record && failure.is_skip) {
      report.skipped.push_back(failure);
      continue;
    }
    if (is_record) report.failure = failure;
    report.is_complete = true;
  }
}

namespace {

std::string describe_step(const SpawnPlan& plan, const SpawnFailure& failure) {
  const auto index = static_cast<std::size_t>(failure.index);
  if (index >= plan.sandbox.view.size()) return "making its view of the file system";
  return sandbox::describe(plan.sandbox.view[index]);
}

// "setrlimit(RLIMIT_NOFILE, 1024)"
std::string describe_limit(const SpawnPlan& plan, int resource) {
  std::string name = std::to_string(resource);
  if (resource == RLIMIT_NOFILE) name = "RLIMIT_NOFILE";
  if (resource == RLIMIT_CORE) name = "RLIMIT_CORE";
  for (const ResourceLimit& limit : plan.resource_limits) {
    if (limit.resource == resource) return fmt::format("setrlimit({}, {})", name, limit.value);
  }
  return fmt::format("setrlimit({})", name);
}

// "private_tmp": the key that switches off what failed; empty for what is no feature.
std::string_view key_of_failure(const SpawnPlan& plan, const SpawnFailure& failure) {
  const auto index = static_cast<std::size_t>(failure.index);
  if (failure.stage == SpawnStage::LoadSeccomp) return key_of(sandbox::Feature::Seccomp);
  if (failure.stage == SpawnStage::EnterUserNamespace) {
    return key_of(sandbox::Feature::UserNamespace);
  }
  if (failure.stage == SpawnStage::ApplyLandlock) return key_of(sandbox::Feature::Landlock);
  if (failure.stage != SpawnStage::BuildView || index >= plan.sandbox.view.size()) return {};
  return key_of(plan.sandbox.view[index].feature);
}

}  // namespace

std::string describe_failure(const SpawnPlan& plan, const SpawnFailure& failure) {
  const auto index = static_cast<std::size_t>(failure.index);
  const auto mount_target = [&] {
    return index < plan.mounts.size() ? plan.mounts[index].target : "";
  };
  const uid_t uid = plan.credentials ? plan.credentials->uid : 0;
  const gid_t gid = plan.credentials ? plan.credentials->gid : 0;
  std::string what;
  switch (failure.stage) {
    case SpawnStage::JoinCgroup: what = "joining its cgroup"; break;
    case SpawnStage::EnterNetworkNamespace: what = "entering the network namespace"; break;
    case SpawnStage::EnterMountNamespace: what = "entering the mount namespace"; break;
    case SpawnStage::BindVolume: what = fmt::format("mount(\"{}\")", mount_target()); break;
    case SpawnStage::PrepareFds: what = "arranging its file descriptors"; break;
    case SpawnStage::SetResourceLimit: what = describe_limit(plan, failure.index); break;
    case SpawnStage::SetNice: what = fmt::format("nice({})", plan.nice); break;
    case SpawnStage::SetOomScore:
      what = fmt::format("oom_score_adj {}", plan.oom_score_adjust);
      break;
    case SpawnStage::SetGroups: what = fmt::format("setgroups, setgid({})", gid); break;
    case SpawnStage::SetUser: what = fmt::format("setuid({})", uid); break;
    case SpawnStage::SetCapabilities: what = fmt::format("capability {}", failure.index); break;
    case SpawnStage::SetDeathSignal: what = "its keeper is gone"; break;
    case SpawnStage::ChangeDirectory:
      what = fmt::format("chdir(\"{}\")", plan.working_directory);
      break;
    case SpawnStage::Execute: what = fmt::format("exec(\"{}\")", plan.argv.front()); break;
    case SpawnStage::BuildView: what = describe_step(plan, failure); break;
    case SpawnStage::ApplyLandlock: what = "the Landlock ruleset"; break;
    case SpawnStage::EnterUserNamespace: what = "a user namespace"; break;
    case SpawnStage::LoadSeccomp: what = "the filter of system calls"; break;
  }
  const std::string text = Error::from_errno(what, failure.error).message();
  const std::string_view key = key_of_failure(plan, failure);
  if (key.empty()) return text;
  return failure.is_skip ? fmt::format("{} ({})", key, text)
                         : fmt::format("{} (of `hardening`): {}", key, text);
}

int exit_code_of(const SpawnFailure& failure) {
  if (failure.stage != SpawnStage::Execute) return 71;
  return failure.error == ENOENT || failure.error == ENOTDIR ? 127 : 126;
}

bool is_running(pid_t pid) {
  auto text = read_file(fmt::format("/proc/{}/stat", pid));
  if (!text) return false;
  const auto name_end = text->rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= text->size()) return false;
  const char state = (*text)[name_end + 2];
  return state != 'Z' && state != 'X';
}

std::uint64_t read_start_time(pid_t pid) {
  auto text = read_file(fmt::format("/proc/{}/stat", pid));
  if (!text) return 0;
  // Field 2 is the name in parentheses and may hold spaces; field 3 follows the last ')'.
  auto at = text->rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = text->find(' ', at + 1);
  if (at == std::string::npos) return 0;
  std::uint64_t ticks = 0;
  std::from_chars(text->data() + at + 1, text->data() + text->size(), ticks);
  return ticks;
}

}  // namespace pillion::supervisor::host
