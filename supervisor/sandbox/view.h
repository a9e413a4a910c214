// The file system as one child sees it, planned as steps.
#pragma once

#include <vector>

#include "supervisor/sandbox/sandbox.h"

namespace pillion::supervisor::sandbox {

// Looks at what exists on the host now. Steps of one feature come in an order in which stopping at
// the first failure leaves the host's tree, or all of the feature's own.
std::vector<ViewStep> plan_view(const config::Hardening& hardening, const SandboxFacts& facts);

// Directories of the host that `read_only_system` and `landlock` protect.
bool is_system_directory(std::string_view top_level_path);

}  // namespace pillion::supervisor::sandbox
