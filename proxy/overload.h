// How near the process is to its memory limits, and what that means for new work: first no more
// keep-alive, then 503, at last connections are closed as they come (see docs/proxy.md). Limits are
// those of the cgroups we are in and RLIMIT_DATA. The files are read by whoever asks; the decision
// is pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/proxy.h"
#include "runtime/fd.h"

namespace pillion::proxy {

enum class OverloadLevel : std::uint8_t {
  Normal,
  NoKeepAlive,  // connections end with their response, idle ones at once
  Refusing,     // requests are answered 503, TCP connections closed
  Closing,      // connections are closed before a byte is read
};
std::string_view overload_level_name(OverloadLevel level);

// `share` of the limit in use, 0 to 1. A level is left only well below where it was entered.
OverloadLevel next_overload_level(OverloadLevel now, double share,
                                  const config::ProxyOverload& config);

struct MemoryUse {
  double share = 0;             // of the limit that is nearest
  std::uint64_t limit = 0;      // that one in bytes; 0: there is none
  bool counts_sockets = false;  // it counts what the kernel holds for our sockets (version 2 does)
};

// Whether what holds most is to end. The kernel's part of a limit that counts sockets grows faster
// than we can look, so there it begins earlier and takes more.
bool ends_largest(OverloadLevel level, const MemoryUse& use);
// How much is to be given back then, in bytes.
std::uint64_t excess_of(const MemoryUse& use, const config::ProxyOverload& config);

// Looks at the limits that the process has now. `proc` is /proc/self, `cgroups` /sys/fs/cgroup
// (version 2, or 1 below it). Page cache does not count: the kernel takes it back. What cannot be
// read is no limit. Not thread-safe.
class MemoryGauge {
 public:
  explicit MemoryGauge(std::string proc = "/proc/self", std::string cgroups = "/sys/fs/cgroup")
      : proc_(std::move(proc)), cgroups_(std::move(cgroups)) {}

  // Takes some 50 microseconds.
  MemoryUse read();
  // False when read() would show less than `share`, as far as a microsecond tells.
  bool may_reach(double share) const;
  // Whether notably more is in use than at the last read(), or than the least that was seen since:
  // where it is much all the time, only more of it is worth a look.
  bool has_grown();

 private:
  struct Group {
    Fd usage;
    std::uint64_t limit = 0;
    std::uint64_t cache = 0;  // at the last read()
    std::uint64_t least = 0;  // in use, since then
  };
  struct Files;

  void add(const Files& files);
  void add_with_parents(Files files, const std::string& root, std::string path);

  const std::string proc_;
  const std::string cgroups_;
  MemoryUse use_;
  std::vector<Group> groups_;  // those with a limit, as of the last read()
  bool has_data_limit_ = false;
  std::int64_t read_ns_ = 0;
};

}  // namespace pillion::proxy
