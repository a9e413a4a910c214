// Requests and limits from observed use: requests = P90, limits = 2 × P99, memory limits never
// below 1.2 × the highest peak. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/usage/history.h"

namespace pillion::supervisor::usage {

// As the file gives them now; empty = not given.
struct GivenResources {
  std::optional<std::uint32_t> cpu_request_millis;
  std::optional<std::uint32_t> cpu_limit_millis;
  std::optional<std::uint64_t> memory_request_bytes;
  std::optional<std::uint64_t> memory_limit_bytes;
  bool operator==(const GivenResources&) const = default;
};

struct Recommendation {
  std::string child;
  std::string table;  // "app", "sidecar.proxy"
  GivenResources given;
  GivenResources recommended;  // all set when is_possible
  bool is_possible = false;    // false: nothing was observed yet
  bool is_thin = false;        // observed for less than a day
  double observed_seconds = 0;
  std::uint64_t samples = 0;
  std::uint64_t generations = 0;
  std::uint64_t oom_kills = 0;
  double cpu_p90_millis = 0;
  double cpu_p99_millis = 0;
  double memory_p90_bytes = 0;
  double memory_p99_bytes = 0;
  std::uint64_t memory_peak_bytes = 0;
};

Recommendation recommend(const std::string& child, const std::string& table,
                         const GivenResources& given, const ChildHistory& history);

// The tables to put in place of the ones in the file, with what they rest on as comments.
std::string to_toml_patch(const std::vector<Recommendation>& recommendations);
std::string to_json(const std::vector<Recommendation>& recommendations);

}  // namespace pillion::supervisor::usage
