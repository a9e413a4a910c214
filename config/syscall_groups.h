// The groups of system calls that a service's file may name in `seccomp_allow` and `seccomp_deny`.
// What each group holds is supervisor/sandbox's; a test compares both lists.
#pragma once

#include <string_view>

namespace pillion::config {

inline constexpr std::string_view kSyscallGroups[] = {
    "@accounting", "@bpf",    "@clock", "@debug",     "@hostname",  "@io-uring", "@keyring",
    "@log",        "@module", "@mount", "@namespace", "@obsolete",  "@perf",     "@personality",
    "@raw-io",     "@reboot", "@swap",  "@terminal",  "@userfault",
};

// A group of the list, or what could be the name of a system call (the kernel's list is not known
// here).
bool is_syscall_or_group(std::string_view text);

}  // namespace pillion::config
