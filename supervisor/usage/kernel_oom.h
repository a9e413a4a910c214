// What the kernel's log says about kills for lack of memory: who, by whose limit, and who else had
// how much. The log is /dev/kmsg, which only the privileged may read; without it a report rests on
// counters alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"

namespace pillion::supervisor::usage {

struct ProcessUse {
  long pid = 0;
  std::string name;
  std::uint64_t bytes = 0;  // resident
  bool operator==(const ProcessUse&) const = default;
};

struct KernelOomKill {
  ProcessUse victim;
  bool is_by_group = false;     // CONSTRAINT_MEMCG: a group's limit; else the machine's memory
  std::string limit_group;      // path in the hierarchy of the group whose limit it was
  std::string victim_group;     // path of the victim's group
  std::vector<ProcessUse> top;  // largest first, at most kTopMax; as the kernel listed them
  std::uint64_t at_microseconds = 0;  // since boot
};
inline constexpr std::size_t kTopMax = 5;

// `log` holds records of /dev/kmsg, one per line: "6,339,5140900,-;message".
std::vector<KernelOomKill> parse_kernel_oom_kills(std::string_view log);

// The records of the last `span`; empty when the log cannot be read. Reads at most 4 MiB, about
// 3 ms for a full log.
std::string read_kernel_log(Duration span);

}  // namespace pillion::supervisor::usage
