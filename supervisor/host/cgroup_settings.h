// Limits as the files and values that the kernel wants, for cgroup v1 and v2. Pure: what a machine
// lacks is found by looking for the files afterwards.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "supervisor/host/cgroup.h"

namespace pillion::supervisor::host {

// One write into one file of a controller.
struct CgroupSetting {
  std::string key;         // of the service file: "limits.memory"
  std::string controller;  // "memory"
  std::string file;        // "memory.max"; empty = this version of cgroups has no such thing
  std::string value;
  std::string alternative{};  // another name of `file`, for when that does not exist
  std::string alternative_value{};
  bool operator==(const CgroupSetting&) const = default;
};

// What to write for `limits`, in order. A limit that `before` had and `limits` has not is written
// as the kernel's "no limit".
std::vector<CgroupSetting> v2_settings(const CgroupLimits& limits, const CgroupLimits& before);
std::vector<CgroupSetting> v1_settings(const CgroupLimits& limits, const CgroupLimits& before);

// "50000 100000" for half a CPU.
std::string v2_cpu_max(std::uint32_t cpu_millis);
// cpu.weight 1–10000 from a CPU request; 1 CPU = 100, the kernel's default.
std::uint32_t v2_cpu_weight(std::uint32_t cpu_millis);
// cpu.shares from a CPU request; 1 CPU = 1024.
std::uint32_t v1_cpu_shares(std::uint32_t cpu_millis);

}  // namespace pillion::supervisor::host
