#include "supervisor/host/cgroup_v1.h"

#include <signal.h>

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "supervisor/host/cgroup_apply.h"
#include "supervisor/host/cgroup_files.h"
#include "supervisor/host/cgroup_settings.h"

namespace pillion::supervisor::host {

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
  if (made) made = update(leaf, limits, {});
  if (!made) remove(leaf);
  return made;
}

Result<void> CgroupsV1::make_directories(const std::string& leaf) {
  for (const auto& [controller, base] : bases_) {
    const std::string directory = base + "/" + leaf;
    if (make_cgroup(directory)) continue;
    if (auto made = make_cgroup(base); !made) return made;  // somebody removed it
    if (auto made = make_cgroup(directory); !made) return made;
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
    auto inherited = read_file(base + file);
    if (!inherited || inherited->size() <= 1) {
      inherited = read_file(parent + file);
      if (!inherited) return fail(inherited.error());
      if (auto set = write_cgroup_file(base + file, *inherited); !set) return set;
    }
    if (auto set = write_cgroup_file(base + "/" + leaf + file, *inherited); !set) return set;
  }
  return {};
}

Result<void> CgroupsV1::update(const std::string& leaf, const CgroupLimits& limits,
                               const CgroupLimits& before) {
  auto settings = v1_settings(limits, before);
  // An empty cpuset would take no process: no limit means what the service's own group has.
  for (CgroupSetting& setting : settings) {
    if (setting.controller != "cpuset" || !setting.value.empty() || !bases_.contains("cpuset")) {
      continue;
    }
    auto inherited = read_file(bases_.at("cpuset") + "/" + setting.file);
    if (!inherited) return fail(inherited.error());
    setting.value = *inherited;
  }
  return apply_settings(settings,
                        [&](const std::string& controller) { return path(controller, leaf); });
}

std::vector<UnenforcedSetting> CgroupsV1::unenforced(const CgroupLimits& limits) const {
  return find_unenforced(v1_settings(limits, {}), limits, "cgroup v1",
                         [&](const std::string& controller) {
                           const auto base = bases_.find(controller);
                           return base == bases_.end() ? std::string() : base->second;
                         });
}

Result<void> CgroupsV1::freeze(const std::string& leaf, bool is_frozen) {
  const std::string freezer = path("freezer", leaf);
  if (!freezer.empty()) {
    return write_cgroup_file(freezer + "/freezer.state", is_frozen ? "FROZEN" : "THAWED");
  }
  if (tracker_) return tracker_->freeze(leaf, is_frozen);
  return fail("cannot freeze " + leaf + ": there is no freezer controller");
}

usage::CgroupPaths CgroupsV1::paths(const std::string& leaf) const {
  return paths_below("/" + leaf);
}

usage::CgroupPaths CgroupsV1::base_paths() const { return paths_below(""); }

usage::CgroupPaths CgroupsV1::paths_below(const std::string& leaf) const {
  usage::CgroupPaths paths;
  const auto where = [&](const char* controller) {
    const auto base = bases_.find(controller);
    return base == bases_.end() ? std::string() : base->second + leaf;
  };
  paths.cpu = where("cpu");
  paths.cpuacct = where("cpuacct");
  paths.memory = where("memory");
  paths.pids = where("pids");
  paths.io = where("blkio");
  if (tracker_) {
    paths.unified =
        leaf.empty() ? tracker_->base_paths().unified : tracker_->paths(leaf.substr(1)).unified;
  }
  const std::string freezer = where("freezer");
  const std::string list = freezer.empty() ? bases_.begin()->second + leaf : freezer;
  paths.procs = (tracker_ ? paths.unified : list) + "/cgroup.procs";
  return paths;
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
  // A thread that moves itself, the only one that a child has then, needs none of the lock that
  // moving a process by cgroup.procs takes, which waits 10 to 20 ms for the kernel's RCU.
  for (const std::string& directory : directories) {
    entry.join_files.push_back(directory + "/" + leaf + "/tasks");
  }
  return entry;
}

void CgroupsV1::kill(const std::string& leaf) {
  if (tracker_) {
    tracker_->kill(leaf);
    // A process that somebody froze meanwhile could not die.
    if (bases_.contains("freezer")) static_cast<void>(freeze(leaf, false));
    return;
  }
  // Frozen, nothing forks away from the loop; a v1 freezer holds what was killed until it thaws.
  const bool is_frozen = freeze(leaf, true).has_value();
  signal_pids(procs_file(leaf), SIGKILL);
  if (is_frozen) static_cast<void>(freeze(leaf, false));
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
    is_gone = remove_cgroup_tree(base + "/" + leaf) && is_gone;
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
