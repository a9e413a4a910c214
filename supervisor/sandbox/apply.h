// Carries a sandbox out between clone and exec: system calls only, nothing allocates or locks.
#pragma once

#include <sys/types.h>

#include "supervisor/sandbox/sandbox.h"

namespace pillion::supervisor::sandbox {

// Why the step `index` failed.
struct StepFailure {
  int error = 0;  // errno; 0 = none
  int index = -1;
};

// What apply_view() did without, by Feature.
struct Skipped {
  StepFailure features[kFeatureCount];
};

// The caller is in a mount namespace of its own. Returns the failure of a required step, else fills
// `skipped`: after the first failure the rest of a feature is left out.
StepFailure apply_view(const std::vector<ViewStep>& steps, Skipped& skipped);

// Mounts what was opened with O_PATH over `target`, with everything below. 0, or an errno.
int bind_opened(int fd, const char* target);

// 0, or an errno. Needs no_new_privileges, or CAP_SYS_ADMIN.
int apply_seccomp(const SeccompProgram& program);

// Enters a user namespace in which root is the given ids outside. 0, or an errno. By one's own
// right when the ids are one's own; else by that of root, in a process of its own that ends before
// this returns.
int enter_user_namespace(uid_t uid, gid_t gid);

// The mount at `target` itself becomes read-only, without setuid programs and devices. What it was
// forbidden before it stays: in a user namespace the kernel refuses to lift that. 0, or an errno.
int make_mount_read_only(const char* target);

// Everything mounted at and below `target` becomes read-only; on kernels before 5.12 what is
// mounted below stays as it was. 0, or an errno.
int make_read_only(const char* target);

}  // namespace pillion::supervisor::sandbox
