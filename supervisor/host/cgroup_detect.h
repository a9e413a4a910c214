// Which cgroup backend this machine offers, found by looking: /proc/self/mountinfo says what is
// mounted where, /proc/self/cgroup where we are in it, and a try says what may be written.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/host/cgroup.h"

namespace pillion::supervisor::host {

// What the two proc files say.
struct CgroupLayout {
  std::string v2_mount;                         // empty = not mounted
  std::string v2_root;                          // the mount's root within the hierarchy
  std::string v2_own;                           // our group within the hierarchy
  std::map<std::string, std::string> v1_bases;  // controller → directory of our own group
};

CgroupLayout parse_cgroup_layout(std::string_view mountinfo, std::string_view proc_cgroup);

// The directory of group `own` under a mount whose root is `root`; the mount itself when `own` lies
// outside of it (a foreign cgroup namespace).
std::string cgroup_directory(const std::string& mount, const std::string& root,
                             const std::string& own);

// The backend for `service`; never fails: what cannot be used is told by describe(). `keeper_pid`
// moves along when a delegated v2 group has to be emptied for its leaves.
std::unique_ptr<Cgroups> detect_cgroups(const std::string& service, long keeper_pid);

}  // namespace pillion::supervisor::host
