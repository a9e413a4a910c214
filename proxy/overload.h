// How near the process is to its memory limits, and what that means for new work: first no more
// keep-alive, then 503, at last connections are closed as they come (see docs/proxy.md). Limits are
// those of the cgroups we are in and RLIMIT_DATA. The files are read by whoever asks; the decision
// is pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/proxy.h"

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
  double share = 0;         // of the limit that is nearest
  std::uint64_t limit = 0;  // that one in bytes; 0: there is none
};

// How much must be given back so that `share` is that of normal service again, in bytes.
std::uint64_t excess_of(const MemoryUse& use, const config::ProxyOverload& config);

// `proc` is /proc/self, `cgroups` /sys/fs/cgroup (version 2, or 1 below it). Page cache does not
// count: the kernel takes it back. What cannot be read is no limit.
MemoryUse read_memory_use(const std::string& proc, const std::string& cgroups);

}  // namespace pillion::proxy
