// The deny-list of system calls as a BPF program: compiled once in the parent (libseccomp
// allocates), loaded in the child. Everything is allowed but what is listed: services must keep
// working on calls that are younger than this list.
#pragma once

#include <linux/filter.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/child.h"
#include "runtime/result.h"

namespace pillion::supervisor::sandbox {

struct SeccompProgram {
  std::vector<sock_filter> code;
};

struct SyscallGroup {
  std::string_view name;  // "@mount"
  std::vector<std::string_view> calls;
};
// All groups of config::kSyscallGroups, with what each denies.
std::span<const SyscallGroup> syscall_groups();

// Same configuration, same program: compiled at most once per process. Unknown names are errors.
Result<std::shared_ptr<const SeccompProgram>> compile_seccomp(
    const config::Hardening& hardening, const std::vector<std::string>& capabilities);

}  // namespace pillion::supervisor::sandbox
