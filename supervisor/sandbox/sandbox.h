// What confines one child beside its user, capabilities and cgroup: its own view of the file
// system, a filter of system calls, Landlock, namespaces. Planned here in the parent from the
// child's configuration and plain facts; carried out between clone and exec by apply.h.
//
// Each part belongs to a feature, which is a key of the child's `hardening` table. A feature that
// this machine refuses is skipped and told, unless `required` is set.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/child.h"
#include "runtime/result.h"
#include "supervisor/sandbox/seccomp_filter.h"

namespace pillion::supervisor::sandbox {

enum class Feature : int {
  None,  // a nicety: not told when it fails
  PrivateTmp,
  PrivateDevices,
  ReadOnlySystem,
  HideProcesses,
  PidNamespace,
  UserNamespace,
  Seccomp,
  Landlock,
};
inline constexpr int kFeatureCount = 9;
// The key in `hardening`.
std::string_view key_of(Feature feature);

enum class ViewAction {
  Open,           // `source` into a slot, before anything covers it
  Attach,         // a slot over `target`, with everything mounted below
  ReadOnly,       // `target`, with everything mounted below
  Tmpfs,          // on `target` with `options`
  Proc,           // on `target` with `options`
  Sysfs,          // on `target`, read-only
  Devpts,         // terminals of its own on `target`
  MaskFile,       // a slot (of /dev/null) over `target`, if that is there
  MaskDirectory,  // nothing to see in `target`
  MakeDirectory,
  MakeFile,
  Symlink,  // `target` → `source`
};

struct ViewStep {
  ViewAction action = ViewAction::Open;
  Feature feature = Feature::None;
  std::string target;
  std::string source;
  std::string options;
  int slot = -1;
  bool is_required = false;  // failing is an error even without `required`
};
inline constexpr int kSlotsMax = 64;

// Empty `writable` = no Landlock.
struct LandlockPlan {
  int abi = 0;
  std::vector<std::string> writable;  // every other path is read-only
  bool scopes_signals = false;
};

struct Sandbox {
  std::vector<ViewStep> view;                     // in order, in the child's own mount namespace
  std::shared_ptr<const SeccompProgram> seccomp;  // null = none
  LandlockPlan landlock;
  config::PidNamespace pid_namespace = config::PidNamespace::Host;
  bool has_user_namespace = false;
  bool is_required = false;
  // What is known to be missing before anything was tried: "landlock: the kernel has none".
  std::vector<std::string> missing;
};

struct SandboxFacts {
  bool can_mount = false;            // CAP_SYS_ADMIN, or a user namespace of its own will give it
  bool can_make_namespaces = false;  // CAP_SYS_ADMIN here
  bool is_privileged = false;
  bool runs_as_root = false;  // its user is root, outside of any namespace of its own
  bool has_own_network = false;
  std::vector<std::string> used_paths;     // what the child needs to see even below /tmp
  std::vector<std::string> mount_targets;  // volumes, bound after the view is made
};

// An error only for what can never work: an unknown system call, `required` without the kernel.
Result<Sandbox> make_sandbox(const config::Child& child, const SandboxFacts& facts);

// "mount tmpfs on /tmp"
std::string describe(const ViewStep& step);

}  // namespace pillion::supervisor::sandbox
