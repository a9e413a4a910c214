#include "supervisor/host/cgroup_apply.h"

#include <algorithm>

#include <fmt/format.h>

#include "supervisor/host/cgroup_files.h"

namespace pillion::supervisor::host {
namespace {

// What to write where; an empty file when the machine has none for it.
struct Target {
  std::string file;
  std::string value;
};

Target target_of(const CgroupSetting& setting, const std::string& directory) {
  if (directory.empty() || setting.file.empty()) return {};
  const std::string file = directory + "/" + setting.file;
  if (file_exists(file)) return {file, setting.value};
  const std::string other = directory + "/" + setting.alternative;
  if (!setting.alternative.empty() && file_exists(other)) return {other, setting.alternative_value};
  return {};
}

// An I/O setting without a device begins with the blank before its values.
bool lacks_device(const CgroupSetting& setting) {
  return setting.key == "limits.io" && setting.value.starts_with(' ');
}

std::string reason_for(const CgroupSetting& setting, const std::string& version,
                       const std::string& directory) {
  if (directory.empty()) {
    return fmt::format("the {} controller is not available", setting.controller);
  }
  if (setting.file.empty() && setting.key == "limits.swap") {
    return fmt::format("{} limits swap only together with memory: set limits.memory too", version);
  }
  if (setting.file.empty()) return version + " has no such limit";
  return fmt::format("this kernel's {} controller has no {}", setting.controller, setting.file);
}

}  // namespace

Result<void> apply_settings(const std::vector<CgroupSetting>& settings,
                            const DirectoryOf& directory) {
  for (const CgroupSetting& setting : settings) {
    const Target target = target_of(setting, directory(setting.controller));
    if (target.file.empty() || lacks_device(setting)) continue;
    auto written = write_cgroup_file(target.file, target.value);
    if (!written) return fail(written.error().wrap("cannot set " + setting.key));
  }
  return {};
}

std::vector<UnenforcedSetting> find_unenforced(const std::vector<CgroupSetting>& settings,
                                               const CgroupLimits& limits,
                                               const std::string& version,
                                               const DirectoryOf& directory) {
  std::vector<UnenforcedSetting> lacking;
  const auto add = [&](const std::string& key, std::string reason) {
    const bool is_known = std::any_of(lacking.begin(), lacking.end(),
                                      [&](const auto& each) { return each.key == key; });
    if (!is_known) lacking.push_back({key, std::move(reason)});
  };
  for (const CgroupSetting& setting : settings) {
    const std::string where = directory(setting.controller);
    // The kill of a whole group after one OOM kill is carried out by the supervisor where the
    // kernel has no switch for it.
    if (setting.key == "oom_group") continue;
    if (target_of(setting, where).file.empty()) {
      add(setting.key, reason_for(setting, version, where));
    }
  }
  for (const CgroupIoLimit& io : limits.io) {
    if (io.device.empty()) add(fmt::format("limits.io of {}", io.path), io.problem);
  }
  return lacking;
}

}  // namespace pillion::supervisor::host
