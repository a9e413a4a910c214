// Carrying out settings on a group that exists, and telling which of them this machine lacks. What
// both cgroup versions share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "supervisor/host/cgroup_settings.h"

namespace pillion::supervisor::host {

// The directory whose files belong to `controller`; empty when there is no such controller.
using DirectoryOf = std::function<std::string(const std::string& controller)>;

// Writes them in order; what the machine lacks is left out. The error names the key, the value and
// the file that refused it.
Result<void> apply_settings(const std::vector<CgroupSetting>& settings,
                            const DirectoryOf& directory);

// The keys among `settings` that apply_settings would leave out, each once, with the reason.
// `version` is for the text: "cgroup v1".
std::vector<UnenforcedSetting> find_unenforced(const std::vector<CgroupSetting>& settings,
                                               const CgroupLimits& limits,
                                               const std::string& version,
                                               const DirectoryOf& directory);

}  // namespace pillion::supervisor::host
