// What travels over the control socket as JSON, as plain values. docs/control-api.md documents
// every key; both directions are here, so that server and client cannot drift.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"
#include "supervisor/core/receipt.h"
#include "supervisor/core/status.h"

namespace pillion::supervisor::control {

// "app", "init", …
std::string_view role_name(core::Role role);

// Of one child's cgroup; empty where the machine does not tell.
struct ChildUsage {
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> memory_limit_bytes;
  std::optional<double> cpu_seconds;  // used since the generation started
  std::optional<double> cpu_limit;    // in CPUs
  std::optional<std::uint64_t> processes;
  std::optional<std::uint64_t> memory_peak_bytes{};  // of this generation
  std::optional<double> cpu{};                       // CPUs in use, over the last seconds
  std::optional<double> throttled_share{};  // of the CPU quota's periods, over the last minute
  std::uint64_t oom_kills = 0;              // processes killed for lack of memory
  std::vector<std::string> notes{};         // what a person should know beside its state
  bool operator==(const ChildUsage&) const = default;
};

struct StatusReport {
  core::ServiceStatus service;
  std::vector<ChildUsage> usage;      // one per child of `service`, same order; may be shorter
  std::vector<std::string> warnings;  // guarantees that this machine does not give
  std::string network;                // mode, addresses, how traffic is captured, in one line
  std::string config_file;
  std::string log_directory;
  int supervisor_pid = 0;
};

// One line without a newline.
std::string to_json(const StatusReport& report);
Result<StatusReport> parse_status_report(std::string_view json);

std::string to_json(const core::Receipt& receipt);
Result<core::Receipt> parse_receipt(std::string_view json);

}  // namespace pillion::supervisor::control
