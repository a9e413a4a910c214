#include "supervisor/host/cgroup_v2.h"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "supervisor/host/cgroup_files.h"

namespace pillion::supervisor::host {

std::string v2_cpu_max(std::uint32_t cpu_millis) {
  return fmt::format("{} 100000", std::max<std::uint64_t>(std::uint64_t{cpu_millis} * 100, 1000));
}

std::uint32_t v2_cpu_weight(std::uint32_t cpu_millis) {
  return std::clamp<std::uint32_t>(cpu_millis / 10, 1, 10000);
}

CgroupsV2::CgroupsV2(std::string base, std::set<std::string> controllers, bool is_base_ours)
    : base_(std::move(base)), controllers_(std::move(controllers)), is_base_ours_(is_base_ours) {}

Result<void> CgroupsV2::create(const std::string& leaf, const CgroupLimits& limits) {
  if (auto made = make_cgroup(path(leaf)); !made) return made;
  auto applied = apply(leaf, limits);
  if (!applied) remove_cgroup(path(leaf));
  return applied;
}

Result<void> CgroupsV2::apply(const std::string& leaf, const CgroupLimits& limits) {
  Result<void> result;
  const auto set = [&](const char* controller, const char* file, const std::string& value) {
    if (!result || !controllers_.contains(controller)) return;
    result = write_cgroup_file(path(leaf) + "/" + file, value);
  };
  const auto set_number = [&](const char* controller, const char* file, const auto& number) {
    if (number) set(controller, file, std::to_string(*number));
  };
  if (limits.cpu_millis) set("cpu", "cpu.max", v2_cpu_max(*limits.cpu_millis));
  if (limits.cpu_request_millis) {
    set("cpu", "cpu.weight", std::to_string(v2_cpu_weight(*limits.cpu_request_millis)));
  }
  set_number("memory", "memory.low", limits.memory_low_bytes);
  set_number("memory", "memory.high", limits.memory_high_bytes);
  set_number("memory", "memory.max", limits.memory_bytes);
  // A kernel without swap has no memory.swap.max, and then nothing to limit.
  if (limits.swap_bytes && file_exists(path(leaf) + "/memory.swap.max")) {
    set_number("memory", "memory.swap.max", limits.swap_bytes);
  }
  if (limits.has_oom_group) set("memory", "memory.oom.group", "1");
  set_number("pids", "pids.max", limits.pids);
  set_number("io", "io.weight", limits.io_weight);
  if (limits.cpuset) set("cpuset", "cpuset.cpus", *limits.cpuset);
  return result;
}

Result<CgroupEntry> CgroupsV2::entry(const std::string& leaf) {
  auto directory = open_file(path(leaf), O_RDONLY | O_DIRECTORY);
  if (!directory) return fail(directory.error());
  return CgroupEntry{std::move(*directory), {}, path(leaf) + "/cgroup.procs"};
}

void CgroupsV2::kill(const std::string& leaf) {
  const std::string file = path(leaf) + "/cgroup.kill";
  if (file_exists(file) && write_cgroup_file(file, "1")) return;
  // Before 5.14: frozen, nothing can fork away from the loop; SIGKILL ends frozen processes too.
  const std::string freeze = path(leaf) + "/cgroup.freeze";
  const bool is_frozen = file_exists(freeze) && write_cgroup_file(freeze, "1").has_value();
  signal_pids(path(leaf) + "/cgroup.procs", SIGKILL);
  if (is_frozen) static_cast<void>(write_cgroup_file(freeze, "0"));
}

void CgroupsV2::signal(const std::string& leaf, int signal_number) {
  signal_pids(path(leaf) + "/cgroup.procs", signal_number);
}

bool CgroupsV2::is_empty(const std::string& leaf) const {
  return read_cgroup_key(path(leaf) + "/cgroup.events", "populated") == 0;
}

bool CgroupsV2::contains(const std::string& leaf, long pid) const {
  const auto pids = read_pids(path(leaf) + "/cgroup.procs");
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

bool CgroupsV2::remove(const std::string& leaf) { return remove_cgroup(path(leaf)); }

CgroupUsage CgroupsV2::usage(const std::string& leaf) const {
  CgroupUsage usage;
  usage.memory_bytes = read_cgroup_number(path(leaf) + "/memory.current");
  usage.memory_peak_bytes = read_cgroup_number(path(leaf) + "/memory.peak");
  usage.cpu_microseconds = read_cgroup_key(path(leaf) + "/cpu.stat", "usage_usec");
  usage.pids = controllers_.contains("pids") ? read_cgroup_number(path(leaf) + "/pids.current")
                                             : read_pids(path(leaf) + "/cgroup.procs").size();
  return usage;
}

std::uint64_t CgroupsV2::oom_kills(const std::string& leaf) const {
  return read_cgroup_key(path(leaf) + "/memory.events", "oom_kill");
}

std::vector<std::string> CgroupsV2::leaves() const {
  auto names = list_cgroups(base_);
  // Beside leaves a delegated group holds "supervisor", and systemd its own.
  std::erase_if(names, [](const std::string& name) { return name.find('.') == std::string::npos; });
  return names;
}

bool CgroupsV2::remove_base() { return !is_base_ours_ || remove_cgroup(base_); }

bool CgroupsV2::enforces_limits() const {
  return controllers_.contains("cpu") && controllers_.contains("memory") &&
         controllers_.contains("pids");
}

std::string CgroupsV2::describe() const {
  std::string text = "cgroup v2 at " + base_;
  std::vector<std::string> missing;
  for (const char* name : {"cpu", "memory", "pids"}) {
    if (!controllers_.contains(name)) missing.emplace_back(name);
  }
  if (!missing.empty()) text += fmt::format("; not available: {} limits", fmt::join(missing, ", "));
  return text;
}

}  // namespace pillion::supervisor::host
