// Landlock: paths that may be written, enforced by the kernel also where mounting needs a privilege
// that we lack. https://docs.kernel.org/userspace-api/landlock.html
#pragma once

#include <cstdint>

#include "supervisor/sandbox/sandbox.h"

namespace pillion::supervisor::sandbox {

// The kernel's Landlock version; 0 = none, or switched off.
int landlock_abi();

// Every entry of / but the system directories is writable, and what `facts` and `writable_paths`
// say. Before version 2 no file may be moved between directories, so that is not used.
inline constexpr int kLandlockAbiMin = 2;
LandlockPlan plan_landlock(const config::Hardening& hardening, const SandboxFacts& facts, int abi);

// Between clone and exec: 0, or an errno.
int apply_landlock(const LandlockPlan& plan);

}  // namespace pillion::supervisor::sandbox
