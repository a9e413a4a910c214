#include "supervisor/host/cgroup_detect.h"

#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <set>
#include <vector>

#include "supervisor/host/cgroup_files.h"
#include "supervisor/host/cgroup_settings.h"
#include "supervisor/host/cgroup_v1.h"
#include "supervisor/host/cgroup_v2.h"

namespace pillion::supervisor::host {
namespace {

constexpr std::array<const char*, 7> kV1Controllers = {"cpu",     "cpuacct", "memory", "pids",
                                                       "freezer", "cpuset",  "blkio"};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// "4:cpu,cpuacct:/a" → cpu and cpuacct at /a; "0::/b" → "" at /b.
std::map<std::string, std::string> parse_memberships(std::string_view proc_cgroup) {
  std::map<std::string, std::string> own;
  for (const std::string& line : split(proc_cgroup, '\n')) {
    const auto first = line.find(':');
    const auto second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    for (const auto& name :
         split(std::string_view(line).substr(first + 1, second - first - 1), ',')) {
      own[name] = line.substr(second + 1);
    }
  }
  return own;
}

struct MountLine {
  std::string root;
  std::string mount;
  std::string type;
  std::vector<std::string> super_options;
};

// "36 31 0:35 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory" (proc(5)).
bool parse_mount_line(const std::string& line, MountLine& parsed) {
  const auto dash = line.find(" - ");
  if (dash == std::string::npos) return false;
  const auto before = split(std::string_view(line).substr(0, dash), ' ');
  const auto after = split(std::string_view(line).substr(dash + 3), ' ');
  if (before.size() < 6 || after.size() < 3) return false;
  parsed = {before[3], before[4], after[0], split(after[2], ',')};
  return true;
}

bool is_real_root(const std::string& directory) {
  return !file_exists(directory + "/cgroup.events");
}

bool is_delegated(const std::string& directory) {
  char value[2];
  return ::getxattr(directory.c_str(), "trusted.delegate", value, sizeof value) == 1 ||
         ::getxattr(directory.c_str(), "user.delegate", value, sizeof value) == 1;
}

std::set<std::string> read_controllers(const std::string& file) {
  std::set<std::string> names;
  auto text = read_file(file);
  if (!text) return names;
  while (!text->empty() && text->back() == '\n') text->pop_back();
  for (const auto& name : split(*text, ' ')) {
    if (!name.empty()) names.insert(name);
  }
  return names;
}

// Hands each controller down; returns those that the leaves of `directory` then have.
std::set<std::string> enable_controllers(const std::string& directory) {
  const std::string file = directory + "/cgroup.subtree_control";
  const auto available = read_controllers(directory + "/cgroup.controllers");
  const auto enabled = read_controllers(file);
  for (const char* name : {"cpu", "memory", "pids", "io", "cpuset"}) {
    if (!available.contains(name) || enabled.contains(name)) continue;
    // One by one: a controller that cannot be enabled must not keep the others back.
    static_cast<void>(write_cgroup_file(file, std::string("+") + name));
  }
  return read_controllers(file);
}

// A v2 group with processes cannot hand controllers down: the keeper and we step into a sub-group.
bool step_aside(const std::string& directory, long keeper_pid) {
  const std::string own = directory + "/supervisor";
  if (!make_cgroup(own)) return false;
  for (const long pid : {keeper_pid, static_cast<long>(::getpid())}) {
    if (pid > 0 && !write_cgroup_file(own + "/cgroup.procs", std::to_string(pid))) return false;
  }
  return true;
}

std::unique_ptr<Cgroups> open_v2(const CgroupLayout& layout, const std::string& service,
                                 long keeper_pid) {
  const std::string own = cgroup_directory(layout.v2_mount, layout.v2_root, layout.v2_own);
  const auto parent = own.substr(0, own.rfind('/'));
  const bool is_ours = is_delegated(parent) || (parent == layout.v2_mount && !is_real_root(parent));
  if (own.ends_with("/supervisor") && is_ours) {  // a restarted supervisor
    return std::make_unique<CgroupsV2>(parent, enable_controllers(parent), false);
  }
  const bool is_container_root = own == layout.v2_mount && !is_real_root(own);
  if (is_delegated(own) || is_container_root) {
    if (!step_aside(own, keeper_pid)) {
      return make_no_cgroups("cannot create groups in " + own);
    }
    return std::make_unique<CgroupsV2>(own, enable_controllers(own), false);
  }
  // Not delegated (a shell, a session scope): a group of our own at the top of the hierarchy.
  const std::string base = layout.v2_mount + "/pillion-" + service;
  if (auto made = make_cgroup(base); !made) return make_no_cgroups(made.error().message());
  enable_controllers(layout.v2_mount);
  return std::make_unique<CgroupsV2>(base, enable_controllers(base), true);
}

// Our groups in every v1 hierarchy that may be written.
std::map<std::string, std::string> open_v1(const CgroupLayout& layout, const std::string& service) {
  std::map<std::string, std::string> bases;
  for (const auto& [controller, own] : layout.v1_bases) {
    const std::string base = own + "/pillion-" + service;
    if (make_cgroup(base)) bases[controller] = base;
  }
  return bases;
}

std::unique_ptr<CgroupsV2> open_tracker(const CgroupLayout& layout, const std::string& service) {
  if (layout.v2_mount.empty()) return nullptr;
  const std::string base =
      cgroup_directory(layout.v2_mount, layout.v2_root, layout.v2_own) + "/pillion-" + service;
  if (!make_cgroup(base)) return nullptr;
  return std::make_unique<CgroupsV2>(base, std::set<std::string>(), true);
}

class NoCgroups final : public Cgroups {
 public:
  explicit NoCgroups(std::string reason) : reason_(std::move(reason)) {}
  Result<void> create(const std::string&, const CgroupLimits&) override { return {}; }
  Result<void> update(const std::string&, const CgroupLimits&, const CgroupLimits&) override {
    return fail("there are no cgroups here (" + reason_ + "), so nothing can be limited");
  }
  std::vector<UnenforcedSetting> unenforced(const CgroupLimits& limits) const override {
    std::vector<UnenforcedSetting> all;
    for (CgroupSetting& setting : v2_settings(limits, {})) {
      if (setting.key == "oom_group" || (!all.empty() && all.back().key == setting.key)) continue;
      all.push_back({std::move(setting.key), "there are no cgroups here"});
    }
    return all;
  }
  Result<void> freeze(const std::string&, bool) override {
    return fail("there are no cgroups here (" + reason_ + "), so nothing can be frozen");
  }
  usage::CgroupPaths paths(const std::string&) const override { return {}; }
  usage::CgroupPaths base_paths() const override { return {}; }
  Result<CgroupEntry> entry(const std::string&) override { return CgroupEntry{}; }
  void kill(const std::string&) override {}
  void signal(const std::string&, int) override {}
  bool is_empty(const std::string&) const override { return true; }
  bool contains(const std::string&, long) const override { return false; }
  bool remove(const std::string&) override { return true; }
  CgroupUsage usage(const std::string&) const override { return {}; }
  std::uint64_t oom_kills(const std::string&) const override { return 0; }
  std::vector<std::string> leaves() const override { return {}; }
  bool remove_base() override { return true; }
  std::string describe() const override {
    return "no cgroups (" + reason_ + "): CPU, memory and pids limits are not enforced, use is " +
           "neither measured nor attributed, a kill for lack of memory is not told from another " +
           "SIGKILL, and processes that a child leaves behind are not found";
  }
  bool can_track() const override { return false; }
  bool enforces_limits() const override { return false; }

 private:
  std::string reason_;
};

}  // namespace

std::string cgroup_directory(const std::string& mount, const std::string& root,
                             const std::string& own) {
  std::string relative;
  if (root == "/") {
    relative = own;
  } else if (own.starts_with(root)) {
    relative = own.substr(root.size());
  }
  if (relative == "/" || relative.find("/..") != std::string::npos) relative.clear();
  return mount + relative;
}

CgroupLayout parse_cgroup_layout(std::string_view mountinfo, std::string_view proc_cgroup) {
  const auto own = parse_memberships(proc_cgroup);
  CgroupLayout layout;
  MountLine line;
  for (const auto& text : split(mountinfo, '\n')) {
    if (!parse_mount_line(text, line)) continue;
    if (line.type == "cgroup2" && layout.v2_mount.empty() && own.contains("")) {
      layout.v2_mount = line.mount;
      layout.v2_root = line.root;
      layout.v2_own = own.at("");
    }
    if (line.type != "cgroup") continue;
    const std::set<std::string> options(line.super_options.begin(), line.super_options.end());
    for (const char* controller : kV1Controllers) {
      const auto membership = own.find(controller);
      if (!options.contains(controller) || membership == own.end()) continue;
      layout.v1_bases.emplace(controller,
                              cgroup_directory(line.mount, line.root, membership->second));
    }
  }
  return layout;
}

std::unique_ptr<Cgroups> make_no_cgroups(std::string reason) {
  return std::make_unique<NoCgroups>(std::move(reason));
}

std::unique_ptr<Cgroups> detect_cgroups(const std::string& service, long keeper_pid) {
  auto mountinfo = read_file("/proc/self/mountinfo");
  auto membership = read_file("/proc/self/cgroup");
  if (!mountinfo || !membership) return make_no_cgroups("/proc tells nothing about them");
  const CgroupLayout layout = parse_cgroup_layout(*mountinfo, *membership);
  if (!layout.v1_bases.empty()) {
    auto bases = open_v1(layout, service);
    if (bases.empty()) return make_no_cgroups("the v1 hierarchies are not writable");
    return std::make_unique<CgroupsV1>(std::move(bases), open_tracker(layout, service));
  }
  if (layout.v2_mount.empty()) return make_no_cgroups("none is mounted");
  return open_v2(layout, service, keeper_pid);
}

}  // namespace pillion::supervisor::host
