// What a running process is, read from /proc: enough to start another one just like it beside it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::supervisor::cli {

struct ChildProcess {
  pid_t pid = 0;
  uid_t uid = 0;  // these three as its own user namespace counts
  gid_t gid = 0;
  std::vector<gid_t> groups;
  bool has_user_namespace = false;  // one that is not ours
  std::uint64_t permitted = 0;      // capabilities, as in /proc/PID/status
  std::uint64_t ambient = 0;
  std::uint64_t bounding = 0;
  bool has_no_new_privileges = false;
  std::vector<std::string> environment;  // without what is between it and the supervisor
  std::string working_directory;
  Fd root;                                     // its root directory
  std::vector<std::pair<int, Fd>> namespaces;  // CLONE_NEW…, those that are not ours; user first
  std::vector<std::string> cgroups;            // directories, one per hierarchy
};

// An error when it is gone, or when it cannot be looked at (the message says who can).
Result<ChildProcess> inspect_process(pid_t pid);

// "Uid:\t1\t2" … of the text of /proc/PID/status; empty when the key is not there.
std::vector<std::string> status_words(std::string_view status, std::string_view key);

// "0 1000 1" lines of /proc/PID/uid_map: what `outside` is called inside; itself when nothing maps.
unsigned map_id(std::string_view map, unsigned outside);

// The directories of a process' cgroups from /proc/PID/cgroup and /proc/self/mountinfo.
std::vector<std::string> cgroup_directories(std::string_view cgroup, std::string_view mountinfo);

}  // namespace pillion::supervisor::cli
