// Where the kernel keeps the account of one control group: plain directories, so that what reads
// them need not know how groups are made.
#pragma once

#include <string>

namespace pillion::supervisor::usage {

// Directories without a trailing slash; empty = this machine has no such controller for the group.
// On v2 all are the same directory. On a hybrid machine `unified` is the v2 group beside the v1
// ones.
struct CgroupPaths {
  bool is_v2 = false;
  std::string cpu;      // throttling
  std::string cpuacct;  // time used
  std::string memory;
  std::string pids;
  std::string io;
  std::string unified;  // pressure, and time used where there is no cpuacct
  std::string procs;    // the file that lists the group's processes
  // Longest path of the mount itself, where looking at ancestors ends.
  std::string memory_mount;

  bool operator==(const CgroupPaths&) const = default;
};

}  // namespace pillion::supervisor::usage
