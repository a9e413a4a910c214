#include "supervisor/host/cgroup_v1.h"

#include <signal.h>

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "supervisor/host/cgroup_files.h"

namespace pillion::supervisor::host {

std::uint32_t v1_cpu_shares(std::uint32_t cpu_millis) {
  return std::clamp<std::uint32_t>(cpu_millis * 1024 / 1000, 2, 262144);
}

CgroupsV1::CgroupsV1(std::map<std::string, std::string> bases, std::unique_ptr<CgroupsV2> tracker)
    : bases_(std::move(bases)), tracker_(std::move(tracker)) {}

std::string CgroupsV1::path(const std::string& controller, const std::string& leaf) const {
  const auto base = bases_.find(controller);
  return base == bases_.end() ? std::string() : base->second + "/" + leaf;
}

// The hierarchy that tells who is in the leaf.
std::string CgroupsV1::procs_file(const std::string& leaf) const {
  return (bases_.contains("freezer") ? path("freezer", leaf)
                                     : bases_.begin()->second + "/" + leaf) +
         "/cgroup.procs";
}

Result<void> CgroupsV1::create(const std::string& leaf, const CgroupLimits& limits) {
  auto made = make_directories(leaf);
  if (made) made = apply(leaf, limits);
  if (!made) remove(leaf);
  return made;
}

Result<void> CgroupsV1::make_directories(const std::string& leaf) {
  for (const auto& [controller, base] : bases_) {
    if (auto made = make_cgroup(base); !made) return made;
    if (auto made = make_cgroup(base + "/" + leaf); !made) return made;
  }
  if (bases_.contains("cpuset")) {
    if (auto prepared = prepare_cpuset(leaf); !prepared) return prepared;
  }
  return tracker_ ? tracker_->create(leaf, {}) : Result<void>();
}

// A v1 cpuset starts empty, and an empty one takes no process: inherit from above, level by level.
Result<void> CgroupsV1::prepare_cpuset(const std::string& leaf) {
  const std::string base = bases_.at("cpuset");
  const std::string parent = base.substr(0, base.rfind('/'));
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
    auto inherited = read_file(parent + file);
    if (!inherited) return fail(inherited.error());
    for (const std::string& directory : {base, base + "/" + leaf}) {
      auto own = read_file(directory + file);
      if (own && own->size() > 1) continue;
      if (auto set = write_cgroup_file(directory + file, *inherited); !set) return set;
    }
  }
  return {};
}

Result<void> CgroupsV1::apply(const std::string& leaf, const CgroupLimits& limits) {
  Result<void> result;
  const auto set = [&](const char* controller, const char* file, const auto& number) {
    if (!result || !number || !bases_.contains(controller)) return;
    result = write_cgroup_file(path(controller, leaf) + "/" + file, fmt::format("{}", *number));
  };
  std::optional<std::uint64_t> quota;
  if (limits.cpu_millis) quota = std::max<std::uint64_t>(*limits.cpu_millis * 100ull, 1000);
  std::optional<std::uint32_t> shares;
  if (limits.cpu_request_millis) shares = v1_cpu_shares(*limits.cpu_request_millis);
  set("cpu", "cpu.cfs_quota_us", quota);
  set("cpu", "cpu.shares", shares);
  set("memory", "memory.soft_limit_in_bytes", limits.memory_low_bytes);
  set("memory", "memory.limit_in_bytes", limits.memory_bytes);
  const std::string memsw = path("memory", leaf) + "/memory.memsw.limit_in_bytes";
  if (limits.memory_bytes && limits.swap_bytes && file_exists(memsw)) {
    std::optional<std::uint64_t> both = *limits.memory_bytes + *limits.swap_bytes;
    set("memory", "memory.memsw.limit_in_bytes", both);
  }
  set("pids", "pids.max", limits.pids);
  set("cpuset", "cpuset.cpus", limits.cpuset);
  return result;
}

Result<CgroupEntry> CgroupsV1::entry(const std::string& leaf) {
  CgroupEntry entry;
  if (tracker_) {
    auto tracked = tracker_->entry(leaf);
    if (!tracked) return tracked;
    entry = std::move(*tracked);
  }
  std::set<std::string> directories;
  for (const auto& [controller, base] : bases_) directories.insert(base);
  for (const std::string& directory : directories) {
    entry.join_files.push_back(directory + "/" + leaf + "/cgroup.procs");
  }
  return entry;
}

void CgroupsV1::kill(const std::string& leaf) {
  if (tracker_) return tracker_->kill(leaf);
  const std::string freezer = path("freezer", leaf);
  // A v1 freezer holds a killed process until it is thawed: freeze, kill all, thaw.
  const bool is_frozen =
      !freezer.empty() && write_cgroup_file(freezer + "/freezer.state", "FROZEN").has_value();
  signal_pids(procs_file(leaf), SIGKILL);
  if (is_frozen) static_cast<void>(write_cgroup_file(freezer + "/freezer.state", "THAWED"));
}

void CgroupsV1::signal(const std::string& leaf, int signal_number) {
  signal_pids(procs_file(leaf), signal_number);
}

bool CgroupsV1::is_empty(const std::string& leaf) const {
  return read_pids(procs_file(leaf)).empty();
}

bool CgroupsV1::contains(const std::string& leaf, long pid) const {
  const auto pids = read_pids(procs_file(leaf));
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

bool CgroupsV1::remove(const std::string& leaf) {
  bool is_gone = !tracker_ || tracker_->remove(leaf);
  for (const auto& [controller, base] : bases_) {
    is_gone = remove_cgroup(base + "/" + leaf) && is_gone;
  }
  return is_gone;
}

CgroupUsage CgroupsV1::usage(const std::string& leaf) const {
  CgroupUsage usage;
  usage.memory_bytes = read_cgroup_number(path("memory", leaf) + "/memory.usage_in_bytes");
  usage.memory_peak_bytes = read_cgroup_number(path("memory", leaf) + "/memory.max_usage_in_bytes");
  usage.cpu_microseconds = read_cgroup_number(path("cpuacct", leaf) + "/cpuacct.usage") / 1000;
  usage.pids = bases_.contains("pids") ? read_cgroup_number(path("pids", leaf) + "/pids.current")
                                       : read_pids(procs_file(leaf)).size();
  return usage;
}

std::uint64_t CgroupsV1::oom_kills(const std::string& leaf) const {
  return read_cgroup_key(path("memory", leaf) + "/memory.oom_control", "oom_kill");
}

std::vector<std::string> CgroupsV1::leaves() const {
  std::set<std::string> names;
  for (const auto& [controller, base] : bases_) {
    for (auto& name : list_cgroups(base)) names.insert(std::move(name));
  }
  if (tracker_) {
    for (auto& name : tracker_->leaves()) names.insert(std::move(name));
  }
  return {names.begin(), names.end()};
}

bool CgroupsV1::remove_base() {
  bool is_gone = !tracker_ || tracker_->remove_base();
  for (const auto& [controller, base] : bases_) is_gone = remove_cgroup(base) && is_gone;
  return is_gone;
}

bool CgroupsV1::enforces_limits() const {
  return bases_.contains("cpu") && bases_.contains("memory") && bases_.contains("pids");
}

std::string CgroupsV1::describe() const {
  std::vector<std::string> present;
  std::vector<std::string> missing;
  for (const char* name : {"cpu", "memory", "pids"}) {
    (bases_.contains(name) ? present : missing).emplace_back(name);
  }
  std::string text = fmt::format(
      "cgroup {}: limits by v1 controllers {}, tracking by {}", tracker_ ? "hybrid" : "v1",
      fmt::join(present, ", "),
      tracker_ ? "v2" : (bases_.contains("freezer") ? "the v1 freezer" : "v1 process lists"));
  if (!missing.empty()) text += fmt::format("; not available: {} limits", fmt::join(missing, ", "));
  return text;
}

}  // namespace pillion::supervisor::host
