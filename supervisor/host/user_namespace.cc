#include "supervisor/host/user_namespace.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "runtime/fd.h"

namespace pillion::supervisor::host {
namespace {

// SYS_ADMIN and SYS_CHROOT: namespaces and mounts. NET_ADMIN: links, rules, transparent listeners.
// NET_BIND_SERVICE: the resolver's port 53 inside. SETPCAP: children lose all of these for good.
constexpr std::array kCapabilities = {CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_NET_ADMIN,
                                      CAP_NET_BIND_SERVICE, CAP_SETPCAP};

struct Setting {
  const char* name;       // as sysctl(8) calls it
  char forbidding_value;  // its first character when it forbids
  const char* allow;
};
constexpr std::array kSettings = {
    Setting{"kernel.unprivileged_userns_clone", '0', "1"},
    Setting{"user.max_user_namespaces", '0', "10000"},
    Setting{"kernel.apparmor_restrict_unprivileged_userns", '1', "0"},
};

std::string file_of(const Setting& setting, const std::string& proc_sys) {
  std::string name = setting.name;
  for (char& c : name) c = c == '.' ? '/' : c;
  return proc_sys + "/" + name;
}

bool forbids(const Setting& setting, const std::string& proc_sys) {
  const auto value = read_file(file_of(setting, proc_sys));
  return value && !value->empty() && value->front() == setting.forbidding_value;
}

Result<void> write_line(const char* path, const std::string& text) {
  auto file = open_file(path, O_WRONLY);
  if (!file) return fail(file.error());
  if (::write(file->get(), text.data(), text.size()) < 0) {
    return fail_errno(std::string("cannot write ") + path);
  }
  return {};
}

Result<void> map_onto_itself(uid_t uid, gid_t gid) {
  // Without this an unprivileged process may map no group: it could drop one that denies access.
  if (auto denied = write_line("/proc/self/setgroups", "deny"); !denied) return denied;
  if (auto mapped = write_line("/proc/self/gid_map", fmt::format("{0} {0} 1\n", gid)); !mapped) {
    return mapped;
  }
  return write_line("/proc/self/uid_map", fmt::format("{0} {0} 1\n", uid));
}

Result<void> keep_capabilities() {
  capng_get_caps_process();
  for (const int capability : kCapabilities) {
    capng_update(CAPNG_ADD, CAPNG_INHERITABLE, static_cast<unsigned>(capability));
  }
  if (capng_apply(CAPNG_SELECT_CAPS) != 0) return fail_errno("cannot set capabilities");
  for (const int capability : kCapabilities) {
    if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) {
      return fail_errno("cannot keep capabilities");
    }
  }
  return {};
}

// AppArmor lets a user namespace be made and then denies what it is for.
Result<void> try_network_namespace() {
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("cannot fork");
  if (pid == 0) ::_exit(::unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 ? 0 : errno);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("cannot wait for a process");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECANCELED;
  return fail_errno("cannot make a network namespace within the user namespace");
}

}  // namespace

bool needs_user_namespace(const config::Service& service) {
  if (service.network.mode != config::NetworkMode::Sealed || ::geteuid() == 0) return false;
  return ::capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) != 1 ||
         ::capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN) != 1;
}

std::string explain_no_user_namespace(int errno_value, const std::string& proc_sys) {
  for (const Setting& setting : kSettings) {
    if (!forbids(setting, proc_sys)) continue;
    return fmt::format("{0} = {1} forbids it; as root: sysctl -w {0}={2}", setting.name,
                       setting.forbidding_value, setting.allow);
  }
  switch (errno_value) {
    case ENOSPC: return "there are too many of them: see the sysctl user.max_user_namespaces";
    case EUSERS: return "they are nested too deeply";
    case EINVAL:
    case ENOSYS: return "the kernel has none (CONFIG_USER_NS)";
    default:
      return "a security policy forbids it: a seccomp profile of the container runtime (docker: "
             "--security-opt seccomp=unconfined), a chroot, SELinux or AppArmor";
  }
}

Result<void> enter_user_namespace() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  Result<void> entered;
  if (::unshare(CLONE_NEWUSER) < 0) entered = fail_errno("cannot make a user namespace");
  if (entered) entered = map_onto_itself(uid, gid);
  if (entered) entered = try_network_namespace();
  if (entered) entered = keep_capabilities();
  if (entered) return {};
  const int reason = entered.error().errno_value();
  return fail(Error(
      fmt::format("mode = \"sealed\" without root needs a user namespace: {}: {}. Or start it as "
                  "root, or set mode = \"host\" in [network]",
                  entered.error().message(), explain_no_user_namespace(reason, "/proc/sys")),
      reason));
}

}  // namespace pillion::supervisor::host
