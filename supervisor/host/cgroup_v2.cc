#include "supervisor/host/cgroup_v2.h"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "supervisor/host/cgroup_apply.h"
#include "supervisor/host/cgroup_files.h"
#include "supervisor/host/cgroup_settings.h"

namespace pillion::supervisor::host {

CgroupsV2::CgroupsV2(std::string base, std::set<std::string> controllers, bool is_base_ours)
    : base_(std::move(base)), controllers_(std::move(controllers)), is_base_ours_(is_base_ours) {}

Result<void> CgroupsV2::create(const std::string& leaf, const CgroupLimits& limits) {
  if (auto made = make_cgroup(path(leaf)); !made) return made;
  auto applied = update(leaf, limits, {});
  if (!applied) remove_cgroup(path(leaf));
  return applied;
}

Result<void> CgroupsV2::update(const std::string& leaf, const CgroupLimits& limits,
                               const CgroupLimits& before) {
  return apply_settings(v2_settings(limits, before), [&](const std::string& controller) {
    return controllers_.contains(controller) ? path(leaf) : std::string();
  });
}

std::vector<UnenforcedSetting> CgroupsV2::unenforced(const CgroupLimits& limits) const {
  // Which files a group has does not depend on the group: the base shows them, as it is no root.
  return find_unenforced(v2_settings(limits, {}), limits, "cgroup v2",
                         [&](const std::string& controller) {
                           return controllers_.contains(controller) ? base_ : std::string();
                         });
}

Result<void> CgroupsV2::freeze(const std::string& leaf, bool is_frozen) {
  return write_cgroup_file(path(leaf) + "/cgroup.freeze", is_frozen ? "1" : "0");
}

usage::CgroupPaths CgroupsV2::paths(const std::string& leaf) const { return paths_of(path(leaf)); }

usage::CgroupPaths CgroupsV2::base_paths() const { return paths_of(base_); }

usage::CgroupPaths CgroupsV2::paths_of(const std::string& directory) const {
  usage::CgroupPaths paths;
  paths.is_v2 = true;
  const auto where = [&](const char* controller) {
    return controllers_.contains(controller) ? directory : std::string();
  };
  paths.cpu = where("cpu");
  paths.memory = where("memory");
  paths.pids = where("pids");
  paths.io = where("io");
  paths.unified = directory;
  paths.procs = directory + "/cgroup.procs";
  return paths;
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
  const bool is_frozen = freeze(leaf, true).has_value();
  signal_pids(path(leaf) + "/cgroup.procs", SIGKILL);
  if (is_frozen) static_cast<void>(freeze(leaf, false));
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

bool CgroupsV2::remove(const std::string& leaf) { return remove_cgroup_tree(path(leaf)); }

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
