#include "supervisor/sandbox/view.h"

#include <sys/stat.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>

namespace pillion::supervisor::sandbox {
namespace {

constexpr std::string_view kSystem[] = {"/bin",   "/boot",  "/efi",    "/etc",  "/lib",
                                        "/lib32", "/lib64", "/libx32", "/sbin", "/usr"};
constexpr const char* kKernelSettings[] = {"/proc/asound", "/proc/bus", "/proc/fs",
                                           "/proc/irq",    "/proc/sys", "/proc/sysrq-trigger"};
constexpr const char* kKernelSecrets[] = {
    "/proc/acpi",        "/proc/kcore",          "/proc/keys",         "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi",           "/proc/timer_list",   "/sys/firmware",
    "/sys/kernel/debug", "/sys/kernel/security", "/sys/kernel/tracing"};
constexpr const char* kDevices[] = {"full", "hugepages",       "log", "mqueue",  "null", "random",
                                    "shm",  "termination-log", "tty", "urandom", "zero"};
constexpr std::pair<const char*, const char*> kDeviceLinks[] = {{"fd", "/proc/self/fd"},
                                                                {"ptmx", "pts/ptmx"},
                                                                {"stderr", "/proc/self/fd/2"},
                                                                {"stdin", "/proc/self/fd/0"},
                                                                {"stdout", "/proc/self/fd/1"}};
constexpr char kDevptsOptions[] = "newinstance,ptmxmode=0666,mode=0620";

bool is_below(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() + 1 && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool is_real_directory(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Options of a mount of /proc are its own only since 5.8; before, they change the host's.
bool has_private_proc_options() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 5 || (major == 5 && minor >= 8);
}

// "ptraceable" also for members of group 0; older kernels know only "invisible".
std::string hide_option() { return has_private_proc_options() ? "hidepid=4" : "hidepid=2"; }

// The paths of `paths` below `directory` to keep: a file that lies deeper with its directory, since
// programs look for others beside themselves. None lies within another.
std::vector<std::string> kept_below(const std::string& directory,
                                    const std::vector<std::string>& paths) {
  std::vector<std::string> kept;
  for (const std::string& each : paths) {
    std::string path = std::filesystem::path(each).lexically_normal().string();
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    if (!is_below(path, directory) || !exists(path)) continue;
    const std::string parent = path.substr(0, path.rfind('/'));
    if (!is_directory(path) && parent != directory) path = parent;
    kept.push_back(path);
  }
  std::sort(kept.begin(), kept.end());
  std::vector<std::string> result;
  for (std::string& path : kept) {
    const bool is_covered =
        !result.empty() && (path == result.back() || is_below(path, result.back()));
    if (!is_covered) result.push_back(std::move(path));
  }
  return result;
}

// Steps in three rounds: what must be reached before it is covered, what covers, what goes on top.
class ViewPlan {
 public:
  ViewPlan(const config::Hardening& hardening, const SandboxFacts& facts)
      : hardening_(hardening), facts_(facts) {}

  std::vector<ViewStep> plan() {
    plan_proc();
    if (hardening_.private_tmp) {
      plan_tmp("/tmp");
      plan_tmp("/var/tmp");
    }
    if (hardening_.private_devices) plan_devices();
    if (hardening_.read_only_system) plan_system();
    std::vector<ViewStep> steps = std::move(opens_);
    for (auto* round : {&covers_, &attaches_}) {
      steps.insert(steps.end(), std::make_move_iterator(round->begin()),
                   std::make_move_iterator(round->end()));
    }
    return steps;
  }

 private:
  void cover(ViewAction action, Feature feature, std::string target, std::string options = {}) {
    covers_.push_back({action, feature, std::move(target), {}, std::move(options), -1, false});
  }
  void attach_step(ViewAction action, Feature feature, std::string target) {
    attaches_.push_back({action, feature, std::move(target), {}, {}, -1, false});
  }

  // What lies at `path` now will lie there again.
  void keep(const std::string& path, Feature feature, bool is_required, bool needs_mount_point) {
    if (slots_ >= kSlotsMax) return;
    opens_.push_back({ViewAction::Open, feature, {}, path, {}, slots_, is_required});
    if (needs_mount_point) {
      attach_step(is_directory(path) ? ViewAction::MakeDirectory : ViewAction::MakeFile, feature,
                  path);
    }
    attaches_.push_back({ViewAction::Attach, feature, path, {}, {}, slots_, is_required});
    ++slots_;
  }

  // The directories between `directory` and `path`, `path` itself left out.
  void make_parents(const std::string& directory, const std::string& path, Feature feature) {
    for (auto end = path.find('/', directory.size() + 1); end != std::string::npos;
         end = path.find('/', end + 1)) {
      attach_step(ViewAction::MakeDirectory, feature, path.substr(0, end));
    }
  }

  void plan_proc();
  void plan_tmp(const std::string& directory);
  void plan_devices();
  void plan_system();
  void plan_sys();

  const config::Hardening& hardening_;
  const SandboxFacts& facts_;
  std::vector<ViewStep> opens_;
  std::vector<ViewStep> covers_;
  std::vector<ViewStep> attaches_;
  int slots_ = 0;
};

void ViewPlan::plan_proc() {
  const bool has_own_pids = hardening_.pid_namespace != config::PidNamespace::Host;
  const bool can_hide = hardening_.hide_processes && (has_own_pids || has_private_proc_options());
  if (!has_own_pids && !can_hide) return;
  cover(ViewAction::Proc, has_own_pids ? Feature::PidNamespace : Feature::HideProcesses, "/proc",
        can_hide ? hide_option() : "");
  // Without it /proc/self, and with that half of libc, would not work there.
  covers_.back().is_required = has_own_pids;
}

void ViewPlan::plan_tmp(const std::string& directory) {
  if (!is_real_directory(directory)) return;
  const std::uint64_t size = hardening_.tmp_size.value;
  cover(ViewAction::Tmpfs, Feature::PrivateTmp, directory,
        fmt::format("mode=1777,size={},nr_inodes={}", size,
                    std::max<std::uint64_t>(size / 1024, 64)));
  std::vector<std::string> paths = facts_.used_paths;
  paths.insert(paths.end(), hardening_.writable_paths.begin(), hardening_.writable_paths.end());
  for (const std::string& path : kept_below(directory, paths)) {
    make_parents(directory, path, Feature::PrivateTmp);
    keep(path, Feature::PrivateTmp, true, true);
  }
  for (const std::string& target : facts_.mount_targets) {
    if (!is_below(target, directory)) continue;
    make_parents(directory, target, Feature::PrivateTmp);
    attach_step(ViewAction::MakeDirectory, Feature::PrivateTmp, target);
  }
}

void ViewPlan::plan_devices() {
  if (!is_real_directory("/dev")) return;
  constexpr Feature kFeature = Feature::PrivateDevices;
  cover(ViewAction::Tmpfs, kFeature, "/dev", "mode=0755,size=64k,nr_inodes=256");
  for (const char* name : kDevices) {
    const std::string path = std::string("/dev/") + name;
    if (exists(path)) keep(path, kFeature, false, true);
  }
  for (const std::string& path : hardening_.writable_paths) {
    if (!is_below(path, "/dev") || !exists(path)) continue;
    make_parents("/dev", path, kFeature);
    keep(path, kFeature, true, true);
  }
  attach_step(ViewAction::MakeDirectory, kFeature, "/dev/pts");
  attaches_.push_back({ViewAction::Devpts, kFeature, "/dev/pts", {}, kDevptsOptions, -1, false});
  for (const auto& [name, target] : kDeviceLinks) {
    attaches_.push_back(
        {ViewAction::Symlink, kFeature, std::string("/dev/") + name, target, {}, -1, false});
  }
}

void ViewPlan::plan_system() {
  constexpr Feature kFeature = Feature::ReadOnlySystem;
  for (const std::string_view directory : kSystem) {
    const std::string path(directory);
    if (is_real_directory(path)) cover(ViewAction::ReadOnly, kFeature, path);
  }
  plan_sys();
  for (const char* path : kKernelSettings) {
    if (exists(path)) cover(ViewAction::ReadOnly, kFeature, path);
  }
  const int null_slot = slots_++;
  opens_.push_back({ViewAction::Open, kFeature, {}, "/dev/null", {}, null_slot, false});
  for (const char* path : kKernelSecrets) {
    if (!exists(path)) continue;
    cover(is_directory(path) ? ViewAction::MaskDirectory : ViewAction::MaskFile, kFeature, path);
    covers_.back().slot = null_slot;
  }
  for (const std::string& path : hardening_.writable_paths) {
    const bool is_elsewhere = is_below(path, "/tmp") || is_below(path, "/var/tmp") ||
                              is_below(path, "/dev") || !exists(path);
    if (!is_elsewhere) keep(path, kFeature, true, false);
  }
}

// A fresh one shows the devices of the network namespace that the child is in, not the host's.
void ViewPlan::plan_sys() {
  if (facts_.has_own_network) {
    cover(ViewAction::Sysfs, Feature::None, "/sys");
    if (exists("/sys/fs/cgroup") && slots_ < kSlotsMax) {
      opens_.push_back({ViewAction::Open, Feature::None, {}, "/sys/fs/cgroup", {}, slots_, false});
      covers_.push_back(
          {ViewAction::Attach, Feature::None, "/sys/fs/cgroup", {}, {}, slots_++, false});
    }
  }
  cover(ViewAction::ReadOnly, Feature::ReadOnlySystem, "/sys");
}

}  // namespace

bool is_system_directory(std::string_view top_level_path) {
  return std::find(std::begin(kSystem), std::end(kSystem), top_level_path) != std::end(kSystem);
}

std::vector<ViewStep> plan_view(const config::Hardening& hardening, const SandboxFacts& facts) {
  return ViewPlan(hardening, facts).plan();
}

}  // namespace pillion::supervisor::sandbox
