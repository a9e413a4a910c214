// The truth about a kill for lack of memory: who died, whose limit it was, how much there was, and
// what to do. Composed from the kernel's log where it can be read, else from counters. Pure but for
// read_limit_hits().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/usage/kernel_oom.h"

namespace pillion::supervisor::usage {

enum class OomScope { Child, Service, Ancestor, Host, Unknown };
std::string_view to_string(OomScope scope);

struct OomReport {
  std::string service;
  std::string child;
  bool is_main = false;              // the main process died of it
  bool is_victim_main = false;       // the process that the kernel chose was the main one
  std::optional<ProcessUse> victim;  // known from the kernel's log
  OomScope scope = OomScope::Unknown;
  std::string group;                         // of Ancestor: its path
  std::optional<std::uint64_t> limit_bytes;  // of the child
  std::optional<std::uint64_t> peak_bytes;   // of the child
  std::vector<ProcessUse> top;               // beside the victim
  std::uint64_t kills = 1;

  // "limits.memory = 64MiB of this child was reached (peak 64 MiB): the kernel killed python3 (pid
  // 12, 61.2 MiB), the main process; beside it sh 1.1 MiB; raise limits.memory, `pillion recommend
  // orders` says how far"
  std::string describe() const;
  std::map<std::string, std::string> fields() const;
};

// How a group and those above it stood when a child started: the count of hits of each one's own
// limit, nearest first. What has risen since tells whose limit it was.
struct LimitHits {
  std::string group;  // directory
  std::uint64_t count = 0;
};
// The memory group, and every one above it up to the hierarchy's top.
std::vector<LimitHits> read_limit_hits(const std::string& memory_group, bool is_v2);
// `before` and `now` of the same groups: the child's, the service's, then ancestors.
OomScope scope_from_hits(const std::vector<LimitHits>& before, const std::vector<LimitHits>& now,
                         std::string& group);
// `child_group` and `service_group` are paths in the hierarchy, "/a/pillion-x/app.1".
OomScope scope_from_log(const KernelOomKill& kill, const std::string& child_group,
                        const std::string& service_group, std::string& group);

}  // namespace pillion::supervisor::usage
