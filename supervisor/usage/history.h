// What the children used over time, by name, across generations and restarts of supervisor and
// service: kept in STATE/usage.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "runtime/result.h"
#include "supervisor/usage/distribution.h"

namespace pillion::supervisor::usage {

struct ChildHistory {
  Distribution cpu_millis;         // thousandths of a CPU, each over one sampling period
  Distribution working_set_bytes;  // at each sample
  std::uint64_t memory_peak_bytes = 0;
  std::uint64_t processes_max = 0;
  double observed_seconds = 0;  // sum of the sampled periods
  std::int64_t first_seen = 0;  // seconds since 1970
  std::int64_t last_seen = 0;
  std::uint64_t generations = 0;  // that were observed
  std::uint64_t oom_kills = 0;    // processes that the kernel killed, the main one or others

  bool operator==(const ChildHistory&) const = default;
};

using History = std::map<std::string, ChildHistory>;

std::string to_json(const History& history);
Result<History> parse_history(std::string_view json);

}  // namespace pillion::supervisor::usage
