#include "supervisor/host/child_stage.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "supervisor/sandbox/apply.h"
#include "supervisor/sandbox/landlock.h"

namespace pillion::supervisor::host {
namespace {

[[noreturn]] void give_up(const ChildStage& stage, SpawnStage where, int index = 0) {
  SpawnFailure failure;
  failure.stage = where;
  failure.error = errno;
  failure.index = index;
  static_cast<void>(!::write(stage.error_pipe, &failure, sizeof failure));
  ::_exit(failure.error == ENOENT && where == SpawnStage::Execute ? 127 : 126);
}

// Hardening that cannot be had: left out and told, or the end when it is required.
void leave_out(const ChildStage& stage, SpawnStage where, int error, int index = 0) {
  errno = error;
  if (stage.sandbox->is_required) give_up(stage, where, index);
  SpawnFailure skip;
  skip.stage = where;
  skip.error = error;
  skip.index = index;
  skip.is_skip = true;
  static_cast<void>(!::write(stage.error_pipe, &skip, sizeof skip));
}

// By the bare call: the C library keeps 32 and 33 to itself, and whoever started us may have left
// them ignored. The kernel's structure is all zeros for the default (rt_sigaction(2)).
void reset_signals() {
  const unsigned long action[4] = {};
  for (int signo = 1; signo < 65; ++signo) {
    ::syscall(SYS_rt_sigaction, signo, action, nullptr, 8);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void join_cgroups(const ChildStage& stage) {
  for (int i = 0; stage.join_files && stage.join_files[i]; ++i) {
    const int fd = ::open(stage.join_files[i], O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, "0", 1) < 0) give_up(stage, SpawnStage::JoinCgroup, i);
    ::close(fd);
  }
}

void build_view(const ChildStage& stage) {
  sandbox::Skipped skipped;
  const sandbox::StepFailure failure = sandbox::apply_view(stage.sandbox->view, skipped);
  if (failure.error != 0) {
    errno = failure.error;
    give_up(stage, SpawnStage::BuildView, failure.index);
  }
  for (const sandbox::StepFailure& each : skipped.features) {
    if (each.error != 0) leave_out(stage, SpawnStage::BuildView, each.error, each.index);
  }
}

void bind_volumes(const ChildStage& stage, const int* sources) {
  for (std::size_t i = 0; i < stage.mount_count; ++i) {
    const StageMount& mount = stage.mounts[i];
    bool is_done = sources[i] >= 0 && sandbox::bind_opened(sources[i], mount.target) == 0;
    if (is_done && mount.is_read_only) {
      is_done = sandbox::make_mount_read_only(mount.target) == 0;
    }
    if (!is_done) give_up(stage, SpawnStage::BindVolume, static_cast<int>(i));
    ::close(sources[i]);
  }
}

// Without root a user namespace comes first: it gives the right to mount.
bool enters_user_namespace_first(const ChildStage& stage) {
  return stage.sandbox->has_user_namespace && stage.mount_namespace < 0 && !stage.has_credentials;
}

// Like the service's mount namespace: what the host mounts later appears, nothing of ours does
// there.
bool build_view_as_user(const ChildStage& stage) {
  const int error = sandbox::enter_user_namespace(::geteuid(), ::getegid());
  if (error != 0) {
    leave_out(stage, SpawnStage::EnterUserNamespace, error);
    return false;
  }
  if (::unshare(CLONE_NEWNS) < 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
    give_up(stage, SpawnStage::EnterMountNamespace);
  }
  build_view(stage);
  return true;
}

void enter_namespaces(const ChildStage& stage) {
  if (stage.network_namespace >= 0 && ::setns(stage.network_namespace, CLONE_NEWNET) < 0) {
    give_up(stage, SpawnStage::EnterNetworkNamespace);
  }
  if (stage.mount_namespace < 0) return;
  if (::setns(stage.mount_namespace, CLONE_NEWNS) < 0) {
    give_up(stage, SpawnStage::EnterMountNamespace);
  }
  if (stage.shares_mount_namespace) return;
  // A copy of the service's for this child alone.
  if (::unshare(CLONE_NEWNS) < 0) give_up(stage, SpawnStage::EnterMountNamespace);
  // Opened first: the view may cover where they are.
  for (std::size_t i = 0; i < stage.mount_count; ++i) {
    stage.mount_fds[i] = ::open(stage.mounts[i].source, O_PATH | O_CLOEXEC);
    if (stage.mount_fds[i] < 0) give_up(stage, SpawnStage::BindVolume, static_cast<int>(i));
  }
  build_view(stage);
  bind_volumes(stage, stage.mount_fds);
}

// Sources first move above every target, so that no dup2 overwrites one that is still needed.
void prepare_fds(ChildStage& stage) {
  int floor = 3;
  for (std::size_t i = 0; i < stage.fd_count; ++i) {
    if (stage.fds[i].target >= floor) floor = stage.fds[i].target + 1;
  }
  const auto lift = [&](int fd) {
    const int lifted = ::fcntl(fd, F_DUPFD_CLOEXEC, floor);
    if (lifted < 0) give_up(stage, SpawnStage::PrepareFds);
    return lifted;
  };
  stage.error_pipe = lift(stage.error_pipe);
  if (stage.go_pipe >= 0) stage.go_pipe = lift(stage.go_pipe);
  const int null_fd = lift(stage.null_fd);
  const int input = stage.standard_input < 0 ? null_fd : lift(stage.standard_input);
  const int output = stage.standard_output < 0 ? null_fd : lift(stage.standard_output);
  const int error = stage.standard_error < 0 ? null_fd : lift(stage.standard_error);
  for (std::size_t i = 0; i < stage.fd_count; ++i) {
    stage.fds[i].source = lift(stage.fds[i].source);
  }
  // Whatever else is open, inherited or not, ends at exec.
  ::syscall(SYS_close_range, 3u, ~0u, static_cast<unsigned>(CLOSE_RANGE_CLOEXEC));
  bool is_done = ::dup2(input, 0) >= 0 && ::dup2(output, 1) >= 0 && ::dup2(error, 2) >= 0;
  for (std::size_t i = 0; is_done && i < stage.fd_count; ++i) {
    is_done = ::dup2(stage.fds[i].source, stage.fds[i].target) >= 0;
  }
  is_done = is_done && (!stage.takes_terminal || ::ioctl(0, TIOCSCTTY, 0) == 0);
  if (!is_done) give_up(stage, SpawnStage::PrepareFds);
}

void set_resources(const ChildStage& stage) {
  for (std::size_t i = 0; i < stage.resource_limit_count; ++i) {
    const ResourceLimit& limit = stage.resource_limits[i];
    const rlimit value{limit.value, limit.value};
    if (::setrlimit(static_cast<__rlimit_resource_t>(limit.resource), &value) < 0) {
      give_up(stage, SpawnStage::SetResourceLimit, limit.resource);
    }
  }
  if (::setpriority(PRIO_PROCESS, 0, stage.nice) < 0) give_up(stage, SpawnStage::SetNice);
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  std::size_t length = 0;
  while (stage.oom_score_adjust[length] != '\0') ++length;
  // Lowering it needs a privilege; a service that asked for nothing special must still start.
  const bool is_set = fd >= 0 && ::write(fd, stage.oom_score_adjust, length) >= 0;
  if (!is_set && stage.drops_privileges && errno != ENOENT && errno != EROFS && errno != EACCES) {
    give_up(stage, SpawnStage::SetOomScore);
  }
  if (fd >= 0) ::close(fd);
  ::umask(static_cast<mode_t>(stage.umask));
}

bool is_already_user(const ChildStage& stage) {
  uid_t uids[3];
  gid_t gids[3];
  ::getresuid(&uids[0], &uids[1], &uids[2]);
  ::getresgid(&gids[0], &gids[1], &gids[2]);
  for (int i = 0; i < 3; ++i) {
    if (uids[i] != stage.uid || gids[i] != stage.gid) return false;
  }
  return true;
}

// Raw system calls: glibc's wrappers would signal the parent's threads, which do not exist here.
void set_user(const ChildStage& stage) {
  if (!stage.has_credentials) return;
  if (::syscall(SYS_setgroups, stage.group_count, stage.groups) < 0) {
    // Root of a container may have no privilege at all, and its child is to be root as well.
    if (errno == EPERM && is_already_user(stage)) return;
    give_up(stage, SpawnStage::SetGroups);
  }
  if (::syscall(SYS_setresgid, stage.gid, stage.gid, stage.gid) < 0) {
    give_up(stage, SpawnStage::SetGroups);
  }
  ::prctl(PR_SET_KEEPCAPS, stage.capabilities != 0 ? 1 : 0, 0, 0, 0);
  if (::syscall(SYS_setresuid, stage.uid, stage.uid, stage.uid) < 0) {
    give_up(stage, SpawnStage::SetUser);
  }
}

void drop_bounding_set(const ChildStage& stage);

// Inside it is root, and its user outside; a new namespace comes with every capability.
void enter_user_namespace(const ChildStage& stage) {
  const uid_t uid = stage.has_credentials ? stage.uid : ::geteuid();
  const gid_t gid = stage.has_credentials ? stage.gid : ::getegid();
  if (stage.has_credentials && ::syscall(SYS_setgroups, stage.group_count, stage.groups) < 0) {
    give_up(stage, SpawnStage::SetGroups);
  }
  const int error = sandbox::enter_user_namespace(uid, gid);
  if (error != 0) {
    leave_out(stage, SpawnStage::EnterUserNamespace, error);
    return set_user(stage);
  }
  if (::syscall(SYS_setresgid, 0, 0, 0) < 0) give_up(stage, SpawnStage::SetGroups);
  if (::syscall(SYS_setresuid, 0, 0, 0) < 0) give_up(stage, SpawnStage::SetUser);
  drop_bounding_set(stage);
}

void drop_bounding_set(const ChildStage& stage) {
  for (int capability = 0; capability < 64; ++capability) {
    if ((stage.capabilities >> capability & 1) != 0) continue;
    // Dropping needs a privilege, even for what is not there: root of a container may have none.
    const int is_there = ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (is_there < 0) return;  // past the last capability of this kernel
    if (is_there > 0 && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      give_up(stage, SpawnStage::SetCapabilities, capability);
    }
  }
}

void set_capabilities(const ChildStage& stage) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int half = 0; half < 2; ++half) {
    const auto bits = static_cast<__u32>(stage.capabilities >> (32 * half));
    data[half] = {bits, bits, bits};
  }
  if (::syscall(SYS_capset, &header, data) < 0) give_up(stage, SpawnStage::SetCapabilities);
  for (int capability = 0; capability < 64; ++capability) {
    if ((stage.capabilities >> capability & 1) == 0) continue;
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) {
      give_up(stage, SpawnStage::SetCapabilities, capability);
    }
  }
}

void write_pid(char* digits) {
  char reversed[12];
  int count = 0;
  for (long pid = ::syscall(SYS_getpid); pid > 0; pid /= 10) {
    reversed[count++] = static_cast<char>('0' + pid % 10);
  }
  while (count > 0) *digits++ = reversed[--count];
  *digits = '\0';
}

void restrict(const ChildStage& stage) {
  const sandbox::Sandbox& sandbox = *stage.sandbox;
  if (sandbox.landlock.abi > 0) {
    const int error = sandbox::apply_landlock(sandbox.landlock);
    if (error != 0) leave_out(stage, SpawnStage::ApplyLandlock, error);
  }
  if (sandbox.seccomp) {
    const int error = sandbox::apply_seccomp(*sandbox.seccomp);
    if (error != 0) leave_out(stage, SpawnStage::LoadSeccomp, error);
  }
}

// A supervisor that died before the keeper knew our pid will start another one in our place.
void wait_to_go(const ChildStage& stage) {
  if (stage.go_pipe < 0) return;
  char byte = 0;
  ssize_t count = 0;
  do {
    count = ::read(stage.go_pipe, &byte, 1);
  } while (count < 0 && errno == EINTR);
  if (count != 1) ::_exit(125);
}

}  // namespace

void run_child_stage(ChildStage& stage) {
  ::setsid();
  join_cgroups(stage);
  const bool is_user_first = enters_user_namespace_first(stage);
  const bool is_inside = is_user_first && build_view_as_user(stage);
  if (!is_user_first) enter_namespaces(stage);
  prepare_fds(stage);
  set_resources(stage);
  const bool drops_privileges = stage.drops_privileges || is_inside;
  if (drops_privileges) drop_bounding_set(stage);
  // Without no_new_privileges only who is still privileged may restrict itself.
  if (!stage.no_new_privileges) restrict(stage);
  if (stage.sandbox->has_user_namespace && !is_user_first) {
    enter_user_namespace(stage);
  } else {
    set_user(stage);
  }
  if (drops_privileges) set_capabilities(stage);
  if (stage.no_new_privileges) ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // A session keyring of its own, not the one of who started us; no harm where there is none.
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  // After the change of user, which clears it. A keeper that died meanwhile cannot signal us.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || ::getppid() != stage.expected_parent) {
    give_up(stage, SpawnStage::SetDeathSignal);
  }
  if (::chdir(stage.working_directory) < 0) give_up(stage, SpawnStage::ChangeDirectory);
  if (stage.listen_pid_digits != nullptr) write_pid(stage.listen_pid_digits);
  if (stage.no_new_privileges) restrict(stage);
  reset_signals();
  wait_to_go(stage);
  ::execve(stage.argv[0], stage.argv, stage.env);
  give_up(stage, SpawnStage::Execute);
}

}  // namespace pillion::supervisor::host
