// Control groups behind one small interface: a leaf per child and generation, below one group per
// service. Backends: v2, v1, hybrid (v1 for limits, v2 for tracking and killing) and none. Which
// one is decided by looking at the machine (cgroup_detect.h), never by configuration.
//
// A leaf is named "CHILD.GENERATION"; no file of the kernel's ends in a number, so names never
// meet.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/fd.h"
#include "runtime/result.h"
#include "supervisor/usage/cgroup_paths.h"

namespace pillion::supervisor::host {

// "app.3"
inline std::string leaf_name(const std::string& child, std::uint64_t generation) {
  return child + "." + std::to_string(generation);
}

// Bounds on one block device.
struct CgroupIoLimit {
  std::string path;                         // as the file names it
  std::string device;                       // "8:0"; empty when `path` lies on none
  std::string problem;                      // why `device` is empty
  std::optional<std::uint64_t> read_bytes;  // per second
  std::optional<std::uint64_t> write_bytes;
  std::optional<std::uint64_t> read_operations;
  std::optional<std::uint64_t> write_operations;
  bool operator==(const CgroupIoLimit&) const = default;
};

// Empty = no limit.
struct CgroupLimits {
  std::optional<std::uint32_t> cpu_millis;
  std::optional<std::uint32_t> cpu_request_millis;  // a weight, not a reservation
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> memory_high_bytes;  // v2 only
  std::optional<std::uint64_t> memory_low_bytes;
  std::optional<std::uint64_t> memory_min_bytes;  // v2 only
  std::optional<std::uint64_t> swap_bytes;
  std::optional<std::uint32_t> pids;
  std::optional<std::uint32_t> io_weight;  // 1–10000
  std::vector<CgroupIoLimit> io;
  std::optional<std::string> cpuset;
  std::optional<std::string> memory_nodes;
  bool has_oom_group = false;  // v2: one OOM kill ends the whole leaf
  bool operator==(const CgroupLimits&) const = default;
};

// A key of the file that this machine cannot enforce, and why.
struct UnenforcedSetting {
  std::string key;  // "limits.memory"
  std::string reason;
  bool operator==(const UnenforcedSetting&) const = default;
};

struct CgroupUsage {
  std::uint64_t memory_bytes = 0;
  std::uint64_t memory_peak_bytes = 0;
  std::uint64_t cpu_microseconds = 0;
  std::uint64_t pids = 0;
};

// How a new process gets into a leaf.
struct CgroupEntry {
  Fd v2_directory;                      // for CLONE_INTO_CGROUP; closed when there is no v2
  std::vector<std::string> join_files;  // the child writes "0" into each before exec
  std::string v2_procs;                 // what to write to where CLONE_INTO_CGROUP is refused
};

class Cgroups {
 public:
  virtual ~Cgroups() = default;

  // Creates the leaf with its limits. A limit that the kernel refuses is an error that names it;
  // one that this machine does not have at all is left out, see unenforced().
  virtual Result<void> create(const std::string& leaf, const CgroupLimits& limits) = 0;
  // Changes a leaf whose limits are `before`. On an error some may have changed.
  virtual Result<void> update(const std::string& leaf, const CgroupLimits& limits,
                              const CgroupLimits& before) = 0;
  // Which of `limits` this machine cannot enforce.
  virtual std::vector<UnenforcedSetting> unenforced(const CgroupLimits& limits) const = 0;
  virtual Result<CgroupEntry> entry(const std::string& leaf) = 0;
  // Sends SIGKILL to everything in the leaf. One pass: where the kernel has no cgroup.kill, a
  // process forked meanwhile may survive; call again until is_empty().
  virtual void kill(const std::string& leaf) = 0;
  // Stops all processes of the leaf until thawed, or lets them run again.
  virtual Result<void> freeze(const std::string& leaf, bool is_frozen) = 0;
  virtual void signal(const std::string& leaf, int signal_number) = 0;
  virtual bool is_empty(const std::string& leaf) const = 0;
  virtual bool contains(const std::string& leaf, long pid) const = 0;
  // False while something still runs in it; true when gone (also when it never existed).
  virtual bool remove(const std::string& leaf) = 0;
  virtual CgroupUsage usage(const std::string& leaf) const = 0;
  // Where the kernel accounts for the leaf, and for the group above it that holds the service.
  virtual usage::CgroupPaths paths(const std::string& leaf) const = 0;
  virtual usage::CgroupPaths base_paths() const = 0;
  // How often the kernel killed for lack of memory within this leaf.
  virtual std::uint64_t oom_kills(const std::string& leaf) const = 0;
  // Leaves that exist, of this run or of a crashed earlier one.
  virtual std::vector<std::string> leaves() const = 0;
  // Removes the service's own group; false while leaves are left.
  virtual bool remove_base() = 0;
  // One line for people: which backend, where, and what is not available.
  virtual std::string describe() const = 0;
  // False for the backend none: nothing can be tracked or killed as a group.
  virtual bool can_track() const { return true; }
  // CPU, memory and pids limits are all enforced.
  virtual bool enforces_limits() const = 0;
};

// No usable cgroup. `reason` is told by describe().
std::unique_ptr<Cgroups> make_no_cgroups(std::string reason);

}  // namespace pillion::supervisor::host
