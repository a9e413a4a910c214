#include "supervisor/sandbox/sandbox.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "supervisor/sandbox/landlock.h"
#include "supervisor/sandbox/view.h"

namespace pillion::supervisor::sandbox {
namespace {

bool has_capability(const config::Child& child, std::string_view name) {
  return std::find(child.capabilities.begin(), child.capabilities.end(), name) !=
         child.capabilities.end();
}

// What needs mounts, named as the file names it.
std::vector<std::string_view> view_features(const config::Hardening& hardening) {
  std::vector<std::string_view> keys;
  const auto add = [&](bool is_wanted, Feature feature) {
    if (is_wanted) keys.push_back(key_of(feature));
  };
  add(hardening.private_tmp, Feature::PrivateTmp);
  add(hardening.private_devices, Feature::PrivateDevices);
  add(hardening.read_only_system, Feature::ReadOnlySystem);
  add(hardening.hide_processes, Feature::HideProcesses);
  return keys;
}

void plan_namespaces(const config::Hardening& hardening, const SandboxFacts& facts,
                     Sandbox& sandbox) {
  sandbox.has_user_namespace = hardening.user_namespace && !facts.runs_as_root;
  if (hardening.user_namespace && facts.runs_as_root) {
    sandbox.missing.push_back(
        fmt::format("{} (needs a `user` other than root: root inside would "
                    "be root outside)",
                    key_of(Feature::UserNamespace)));
  }
  sandbox.pid_namespace = hardening.pid_namespace;
  const bool is_service = hardening.pid_namespace == config::PidNamespace::Service;
  if (hardening.pid_namespace == config::PidNamespace::Host) return;
  const bool can_create = is_service ? facts.is_privileged : facts.can_make_namespaces;
  if (can_create) return;
  sandbox.pid_namespace = config::PidNamespace::Host;
  sandbox.missing.push_back(fmt::format("{} (needs root)", key_of(Feature::PidNamespace)));
}

void plan_view_or_tell(const config::Hardening& hardening, const SandboxFacts& facts,
                       Sandbox& sandbox) {
  if (facts.can_mount) {
    config::Hardening effective = hardening;
    effective.pid_namespace = sandbox.pid_namespace;
    sandbox.view = plan_view(effective, facts);
    return;
  }
  for (const std::string_view key : view_features(hardening)) {
    const bool has_landlock = key == key_of(Feature::ReadOnlySystem) && sandbox.landlock.abi > 0;
    if (!has_landlock) {
      sandbox.missing.push_back(fmt::format("{} (needs root, or user_namespace = true)", key));
    }
  }
}

void plan_landlock_or_tell(const config::Child& child, const SandboxFacts& facts,
                           Sandbox& sandbox) {
  // It forbids every mount, which is what the capability is listed for.
  if (!child.hardening.landlock || has_capability(child, "CAP_SYS_ADMIN")) return;
  const int abi = landlock_abi();
  if (abi >= kLandlockAbiMin) {
    sandbox.landlock = plan_landlock(child.hardening, facts, abi);
    return;
  }
  sandbox.missing.push_back(abi == 0
                                ? "landlock (this kernel has none)"
                                : fmt::format("landlock (this kernel has version {}, {} is needed)",
                                              abi, kLandlockAbiMin));
}

}  // namespace

std::string_view key_of(Feature feature) {
  switch (feature) {
    case Feature::None: return "";
    case Feature::PrivateTmp: return "private_tmp";
    case Feature::PrivateDevices: return "private_devices";
    case Feature::ReadOnlySystem: return "read_only_system";
    case Feature::HideProcesses: return "hide_processes";
    case Feature::PidNamespace: return "pid_namespace";
    case Feature::UserNamespace: return "user_namespace";
    case Feature::Seccomp: return "seccomp";
    case Feature::Landlock: return "landlock";
  }
  return "";
}

Result<Sandbox> make_sandbox(const config::Child& child, const SandboxFacts& facts) {
  const config::Hardening& hardening = child.hardening;
  for (const std::string& path : hardening.writable_paths) {
    if (::access(path.c_str(), F_OK) == 0) continue;
    return fail(Error::from_errno(
        fmt::format("writable_paths of {}: \"{}\" does not exist", child.name, path), errno));
  }
  Sandbox sandbox;
  sandbox.is_required = hardening.required;
  plan_landlock_or_tell(child, facts, sandbox);
  plan_namespaces(hardening, facts, sandbox);
  plan_view_or_tell(hardening, facts, sandbox);
  // Without no_new_privileges only root may load a filter or a Landlock ruleset.
  const bool can_restrict = hardening.no_new_privileges || facts.is_privileged;
  if (!can_restrict && sandbox.landlock.abi > 0) {
    sandbox.landlock = {};
    sandbox.missing.emplace_back("landlock (needs no_new_privileges, or root)");
  }
  if (hardening.seccomp && !can_restrict) {
    sandbox.missing.emplace_back("seccomp (needs no_new_privileges, or root)");
  } else if (hardening.seccomp) {
    auto program = compile_seccomp(hardening, child.capabilities);
    if (!program) return fail(program.error().wrap("hardening of " + child.name));
    sandbox.seccomp = *program;
  }
  if (hardening.required && !sandbox.missing.empty()) {
    return fail(fmt::format("hardening of {} is `required`, but cannot be had here: {}", child.name,
                            fmt::join(sandbox.missing, ", ")));
  }
  return sandbox;
}

std::string describe(const ViewStep& step) {
  switch (step.action) {
    case ViewAction::Open: return fmt::format("open(\"{}\")", step.source);
    case ViewAction::Attach: return fmt::format("mount(\"{}\")", step.target);
    case ViewAction::ReadOnly: return fmt::format("read-only mount(\"{}\")", step.target);
    case ViewAction::Tmpfs: return fmt::format("mount(\"{}\", tmpfs)", step.target);
    case ViewAction::Proc: return fmt::format("mount(\"{}\", proc)", step.target);
    case ViewAction::Sysfs: return fmt::format("mount(\"{}\", sysfs)", step.target);
    case ViewAction::Devpts: return fmt::format("mount(\"{}\", devpts)", step.target);
    case ViewAction::MaskFile:
    case ViewAction::MaskDirectory: return fmt::format("masking mount(\"{}\")", step.target);
    case ViewAction::MakeDirectory: return fmt::format("mkdir(\"{}\")", step.target);
    case ViewAction::MakeFile: return fmt::format("create(\"{}\")", step.target);
    case ViewAction::Symlink: return fmt::format("symlink(\"{}\")", step.target);
  }
  return "";
}

}  // namespace pillion::supervisor::sandbox
