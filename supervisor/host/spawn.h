// Starting one process as a sibling: clone3 with CLONE_PARENT makes it the keeper's child from
// birth, CLONE_PIDFD names it without a race, CLONE_INTO_CGROUP puts it in its group. Fallbacks
// where the kernel or a seccomp profile refuses: plain clone, and joining the group before exec.
//
// Everything the child needs is prepared before the clone; between clone and exec only
// async-signal-safe system calls run (child_stage.cc). A failure comes back as {stage, errno} over
// a close-on-exec pipe, so that the error names what failed: chdir("/opt/x"): no such file or
// directory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/fd.h"
#include "runtime/result.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/sandbox/sandbox.h"

namespace pillion::supervisor::host {

struct BindMount {
  std::string source;
  std::string target;
  bool is_read_only = false;
};

struct Credentials {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

struct ResourceLimit {
  int resource = 0;  // RLIMIT_…
  std::uint64_t value = 0;
};

// What to start and how. Descriptors are borrowed until spawn() returns.
struct SpawnPlan {
  std::vector<std::string> argv;           // [0] is the program, absolute
  std::map<std::string, std::string> env;  // all of it; nothing is inherited
  std::string working_directory = "/";

  const CgroupEntry* cgroup = nullptr;  // null = stay in the supervisor's group
  int network_namespace = -1;
  int mount_namespace = -1;
  int pid_namespace = -1;               // where it gets its number
  bool makes_pid_namespace = false;     // it is process 1 of a new one
  bool shares_mount_namespace = false;  // as it is: no view and no mounts of its own
  std::vector<Fd> owned;                // keeps descriptors that the plan names
  std::vector<BindMount> mounts;        // on top of the child's own view; needs mount_namespace
  sandbox::Sandbox sandbox;

  std::optional<Credentials> credentials;  // empty = keep ours
  std::vector<int> capabilities;           // kept as ambient; all others are dropped
  bool drops_privileges = true;            // false: not privileged, nothing to drop
  bool no_new_privileges = true;
  std::vector<ResourceLimit> resource_limits;
  int nice = 0;
  int oom_score_adjust = 0;
  unsigned umask = 022;

  int standard_input = -1;  // -1 = /dev/null
  int standard_output = -1;
  int standard_error = -1;
  bool takes_terminal = false;  // that on standard_input becomes the controlling one
  std::vector<std::pair<std::string, int>> listeners;  // handed over as LISTEN_FDS from 3 on
  std::optional<std::pair<int, int>> notification_fd;  // {number in the child, ours}
  int go_pipe = -1;  // the child waits for a byte on it before its exec; end of file ends it
};

struct SpawnedChild {
  pid_t pid = 0;
  Fd pidfd;
  Fd error_pipe;  // skips, then end of file when exec succeeded, or one SpawnFailure
};

// Where a child failed before its exec.
enum class SpawnStage : int {
  JoinCgroup = 1,
  EnterNetworkNamespace,
  EnterMountNamespace,
  BindVolume,
  PrepareFds,
  SetResourceLimit,
  SetNice,
  SetOomScore,
  SetGroups,
  SetUser,
  SetCapabilities,
  SetDeathSignal,
  ChangeDirectory,
  Execute,
  BuildView,
  ApplyLandlock,
  LoadSeccomp,
  EnterUserNamespace,
};

struct SpawnFailure {
  SpawnStage stage = SpawnStage::Execute;
  int error = 0;
  int index = 0;         // which cgroup, mount, limit, step of the view
  bool is_skip = false;  // hardening that was left out; the child went on
};

// What came over the error pipe so far.
struct SpawnReport {
  std::vector<SpawnFailure> skipped;
  std::optional<SpawnFailure> failure;
  bool is_complete = false;  // exec succeeded, or `failure` says why not
};

// Clones. Success means that the process exists; whether it reached exec says the error pipe.
Result<SpawnedChild> spawn(const SpawnPlan& plan);

// Adds what a readable error pipe says. Waits for the rest unless the pipe is non-blocking.
void read_spawn_report(int error_pipe, SpawnReport& report);

// `chdir("/opt/x"): no such file or directory`; of a skip: `private_tmp (mount("/tmp", tmpfs): …)`
std::string describe_failure(const SpawnPlan& plan, const SpawnFailure& failure);

// 127 when the program does not exist, 126 when it cannot be executed, 71 for every other stage.
int exit_code_of(const SpawnFailure& failure);

// There is such a process, and it is no zombie.
bool is_running(pid_t pid);

// Field 22 of /proc/PID/stat, clock ticks since boot; 0 when there is no such process.
std::uint64_t read_start_time(pid_t pid);

}  // namespace pillion::supervisor::host
