// The kernel's account of one control group, read through descriptors that stay open: one pread()
// per file, nothing else, so that ten children every few seconds cost nothing worth measuring.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "runtime/fd.h"
#include "supervisor/usage/cgroup_paths.h"
#include "supervisor/usage/kernel_text.h"

namespace pillion::supervisor::usage {

// Empty = this machine does not tell.
struct Counters {
  std::optional<std::uint64_t> cpu_microseconds;
  std::optional<std::uint64_t> periods;            // of the CPU quota, in which it ran
  std::optional<std::uint64_t> throttled_periods;  // in which the quota was used up
  std::optional<std::uint64_t> throttled_microseconds;
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> working_set_bytes;  // without file cache that nobody used lately
  std::optional<std::uint64_t> memory_peak_bytes;
  std::optional<std::uint64_t> swap_bytes;
  std::optional<std::uint64_t> pids;
  std::optional<std::uint64_t> oom_kills;
  std::optional<std::uint64_t> memory_limit_hits;  // how often the memory limit was in the way
  std::optional<IoCounters> io;
  std::optional<Pressure> cpu_pressure;
  std::optional<Pressure> memory_pressure;
  std::optional<Pressure> io_pressure;
};

class CounterReader {
 public:
  explicit CounterReader(CgroupPaths paths) : paths_(std::move(paths)) {}

  // What sampling needs: CPU time, memory, processes, throttling, kills.
  Counters read_basic();
  // Everything.
  Counters read_all();

  std::optional<std::uint64_t> oom_kills();
  const CgroupPaths& paths() const { return paths_; }

 private:
  // The text of a file, read into `buffer_`; empty when there is none.
  std::string_view read(const std::string& directory, const char* name);
  void read_cpu(Counters& counters);
  void read_memory(Counters& counters);
  void read_io(Counters& counters);

  CgroupPaths paths_;
  std::map<std::string, Fd> files_;  // by path; a closed one does not exist
  std::string buffer_;
};

// Pressure of the whole machine: "cpu", "memory" or "io".
std::optional<Pressure> host_pressure(const std::string& resource);

}  // namespace pillion::supervisor::usage
