// What a cloned child does before exec. Plain pointers into memory that the parent prepared:
// nothing here allocates, locks or calls into libc beyond system calls.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "supervisor/host/spawn.h"

namespace pillion::supervisor::host {

struct StageMount {
  const char* source;
  const char* target;
  bool is_read_only;
};

struct StageFd {
  int source;
  int target;
};

struct ChildStage {
  char* const* argv = nullptr;
  char** env = nullptr;
  char* listen_pid_digits = nullptr;  // in env, 11 bytes; filled in when not null
  const char* working_directory = "/";
  const char* const* join_files = nullptr;  // null-terminated
  int network_namespace = -1;
  int mount_namespace = -1;
  bool shares_mount_namespace = false;
  const StageMount* mounts = nullptr;
  int* mount_fds = nullptr;  // room for one per mount
  std::size_t mount_count = 0;
  const sandbox::Sandbox* sandbox = nullptr;  // read only
  bool has_credentials = false;
  uid_t uid = 0;
  gid_t gid = 0;
  const gid_t* groups = nullptr;
  std::size_t group_count = 0;
  std::uint64_t capabilities = 0;  // bit per capability
  bool drops_privileges = true;
  bool no_new_privileges = true;
  const ResourceLimit* resource_limits = nullptr;
  std::size_t resource_limit_count = 0;
  int nice = 0;
  const char* oom_score_adjust = "0";
  unsigned umask = 022;
  int null_fd = -1;
  int standard_input = -1;
  int standard_output = -1;
  int standard_error = -1;
  bool takes_terminal = false;
  StageFd* fds = nullptr;  // beside stdio; sources are rewritten
  std::size_t fd_count = 0;
  int error_pipe = -1;
  int go_pipe = -1;
  pid_t expected_parent = 0;
};

[[noreturn]] void run_child_stage(ChildStage& stage);

}  // namespace pillion::supervisor::host
