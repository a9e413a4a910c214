#include "supervisor/sandbox/seccomp_filter.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "runtime/fd.h"

namespace pillion::supervisor::sandbox {
namespace {

constexpr std::uint64_t kNewTimeNamespace = 0x80;  // CLONE_NEWTIME, linux/sched.h
constexpr std::uint64_t kLowerHalf = 0xffffffff;   // the kernel looks at these bits only

// After systemd's groups and Docker's default profile. Calls that the kernel itself refuses without
// a capability are listed too: the filter then also covers the bugs behind them.
const SyscallGroup kGroups[] = {
    {"@accounting", {"acct", "quotactl", "quotactl_fd"}},
    {"@bpf", {"bpf"}},
    {"@clock", {"clock_settime", "clock_settime64", "settimeofday", "stime"}},
    {"@debug", {"kcmp", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace"}},
    {"@hostname", {"setdomainname", "sethostname"}},
    {"@io-uring", {"io_uring_enter", "io_uring_register", "io_uring_setup"}},
    {"@keyring", {"add_key", "keyctl", "request_key"}},
    {"@log", {"syslog"}},
    {"@module", {"delete_module", "finit_module", "init_module"}},
    {"@mount",
     {"fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
      "name_to_handle_at", "open_by_handle_at", "open_tree", "pivot_root", "umount", "umount2"}},
    {"@namespace", {"clone", "clone3", "setns", "unshare"}},
    {"@obsolete",
     {"_sysctl",  "afs_syscall", "bdflush",      "break",    "create_module",  "epoll_ctl_old",
      "ftime",    "getpmsg",     "gtty",         "idle",     "epoll_wait_old", "get_kernel_syms",
      "lock",     "mpx",         "nfsservctl",   "prof",     "profil",         "putpmsg",
      "security", "sgetmask",    "query_module", "ssetmask", "stty",           "sysfs",
      "tuxcall",  "ulimit",      "uselib",       "ustat",    "vm86",           "vm86old",
      "vserver"}},
    {"@perf", {"lookup_dcookie", "perf_event_open"}},
    {"@personality", {"personality"}},
    {"@raw-io", {"ioperm", "iopl", "pciconfig_iobase", "pciconfig_read", "pciconfig_write"}},
    {"@reboot", {"kexec_file_load", "kexec_load", "reboot"}},
    {"@swap", {"swapoff", "swapon"}},
    {"@terminal", {"ioctl", "vhangup"}},
    {"@userfault", {"userfaultfd"}},
};

struct CapabilityUse {
  std::string_view capability;
  std::vector<std::string_view> groups;
};
// A capability that the file lists is for something: that is then not denied.
const CapabilityUse kCapabilityUses[] = {
    {"CAP_BPF", {"@bpf"}},
    {"CAP_PERFMON", {"@bpf", "@perf"}},
    {"CAP_SYSLOG", {"@log"}},
    {"CAP_SYS_ADMIN",
     {"@accounting", "@bpf", "@hostname", "@log", "@mount", "@namespace", "@perf", "@swap"}},
    {"CAP_SYS_BOOT", {"@reboot"}},
    {"CAP_SYS_MODULE", {"@module"}},
    {"CAP_SYS_PACCT", {"@accounting"}},
    {"CAP_SYS_PTRACE", {"@debug"}},
    {"CAP_SYS_RAWIO", {"@raw-io"}},
    {"CAP_SYS_TIME", {"@clock"}},
    {"CAP_SYS_TTY_CONFIG", {"@terminal"}},
};

class Filter {
 public:
  explicit Filter(config::SeccompAction action)
      : action_(action), context_(::seccomp_init(SCMP_ACT_ALLOW)) {}
  ~Filter() { ::seccomp_release(context_); }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  Result<void> prepare();
  Result<void> deny(const std::string& call, bool is_obsolete);
  Result<std::shared_ptr<const SeccompProgram>> compile() const;

 private:
  std::uint32_t refusal(int error) const {
    if (action_ == config::SeccompAction::Log) return SCMP_ACT_LOG;
    if (action_ == config::SeccompAction::Kill) return SCMP_ACT_KILL_PROCESS;
    return SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error));
  }
  Result<void> add(std::uint32_t action, int number, std::vector<scmp_arg_cmp> when) const;
  Result<void> deny_bits(int number, unsigned argument, std::span<const std::uint64_t> bits,
                         std::uint64_t unless = 0) const;

  config::SeccompAction action_;
  scmp_filter_ctx context_;
};

Result<void> Filter::prepare() {
  if (context_ == nullptr) return fail("cannot make a seccomp filter");
  // 32-bit programs run under the same rules; other personalities have no system calls.
  if (::seccomp_arch_native() == SCMP_ARCH_X86_64) ::seccomp_arch_add(context_, SCMP_ARCH_X86);
  if (::seccomp_arch_native() == SCMP_ARCH_AARCH64) ::seccomp_arch_add(context_, SCMP_ARCH_ARM);
  ::seccomp_attr_set(context_, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  ::seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  return {};
}

Result<void> Filter::add(std::uint32_t action, int number, std::vector<scmp_arg_cmp> when) const {
  const int error = ::seccomp_rule_add_array(context_, action, number,
                                             static_cast<unsigned>(when.size()), when.data());
  if (error == 0 || error == -EDOM) return {};  // -EDOM: not on this architecture
  return fail(Error::from_errno("cannot add a rule to the seccomp filter", -error));
}

// Denied when any of `bits` is set in the argument, unless `unless` is set too.
Result<void> Filter::deny_bits(int number, unsigned argument, std::span<const std::uint64_t> bits,
                               std::uint64_t unless) const {
  for (const std::uint64_t bit : bits) {
    auto added =
        add(refusal(EPERM), number, {SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, bit | unless, bit)});
    if (!added) return added;
  }
  return {};
}

Result<void> Filter::deny(const std::string& call, bool is_obsolete) {
  const int number = ::seccomp_syscall_resolve_name(call.c_str());
  if (number == __NR_SCMP_ERROR) return fail("no system call is named \"" + call + "\"");
  constexpr std::uint64_t kNamespaces[] = {CLONE_NEWNS,  CLONE_NEWCGROUP,  CLONE_NEWUTS,
                                           CLONE_NEWIPC, CLONE_NEWUSER,    CLONE_NEWPID,
                                           CLONE_NEWNET, kNewTimeNamespace};
  const std::span<const std::uint64_t> namespaces(kNamespaces);
  // In clone() the lowest byte is a signal, not CLONE_NEWTIME.
  if (call == "clone") return deny_bits(number, 0, namespaces.first(namespaces.size() - 1));
  if (call == "unshare") return deny_bits(number, 0, namespaces);
  if (call == "clone3") {
    // A filter cannot see its flags: as if the kernel had none, so that libraries use clone().
    if (action_ == config::SeccompAction::Log) return {};
    return add(SCMP_ACT_ERRNO(ENOSYS), number, {});
  }
  if (call == "personality") {
    constexpr std::uint64_t kWeakening[] = {ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, MMAP_PAGE_ZERO};
    return deny_bits(number, 0, kWeakening, 0x80000000);  // 0xffffffff asks only
  }
  if (call == "ioctl") {  // typing into the terminal of whoever started us
    for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}}) {
      auto added =
          add(refusal(EPERM), number, {SCMP_CMP64(1, SCMP_CMP_MASKED_EQ, kLowerHalf, request)});
      if (!added) return added;
    }
    return {};
  }
  return add(refusal(is_obsolete ? ENOSYS : EPERM), number, {});
}

Result<std::shared_ptr<const SeccompProgram>> Filter::compile() const {
  const Fd file(::memfd_create("pillion-seccomp", MFD_CLOEXEC));
  if (!file) return fail_errno("cannot create a file for the seccomp filter");
  if (const int error = ::seccomp_export_bpf(context_, file.get()); error != 0) {
    return fail(Error::from_errno("cannot compile the seccomp filter", -error));
  }
  auto program = std::make_shared<SeccompProgram>();
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  program->code.resize(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (size <= 0 || ::pread(file.get(), program->code.data(), static_cast<std::size_t>(size), 0) !=
                       static_cast<ssize_t>(size)) {
    return fail_errno("cannot read the seccomp filter");
  }
  return std::shared_ptr<const SeccompProgram>(std::move(program));
}

const SyscallGroup* find_group(std::string_view name) {
  const auto* found = std::find_if(std::begin(kGroups), std::end(kGroups),
                                   [&](const SyscallGroup& group) { return group.name == name; });
  return found == std::end(kGroups) ? nullptr : found;
}

// A name of a call as itself, a group as its calls.
void expand(std::string_view name, std::set<std::string>& calls) {
  if (const SyscallGroup* group = find_group(name)) {
    calls.insert(group->calls.begin(), group->calls.end());
  } else {
    calls.emplace(name);
  }
}

Result<void> check_names(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const bool is_known =
        find_group(name) || ::seccomp_syscall_resolve_name(name.c_str()) != __NR_SCMP_ERROR;
    if (!is_known) return fail("no system call is named \"" + name + "\"");
  }
  return {};
}

std::set<std::string> denied_calls(const config::Hardening& hardening,
                                   const std::vector<std::string>& capabilities) {
  std::set<std::string> calls;
  std::set<std::string> allowed;
  for (const SyscallGroup& group : kGroups) expand(group.name, calls);
  for (const CapabilityUse& use : kCapabilityUses) {
    const bool is_listed =
        std::find(capabilities.begin(), capabilities.end(), use.capability) != capabilities.end();
    if (!is_listed) continue;
    for (const std::string_view group : use.groups) expand(group, allowed);
  }
  for (const std::string& name : hardening.seccomp_allow) expand(name, allowed);
  for (const std::string& call : allowed) calls.erase(call);
  for (const std::string& name : hardening.seccomp_deny) expand(name, calls);
  return calls;
}

}  // namespace

std::span<const SyscallGroup> syscall_groups() { return kGroups; }

Result<std::shared_ptr<const SeccompProgram>> compile_seccomp(
    const config::Hardening& hardening, const std::vector<std::string>& capabilities) {
  // Kept for the life of the process: a service has few different ones, and a restart needs them.
  static std::map<std::pair<std::set<std::string>, config::SeccompAction>,
                  std::shared_ptr<const SeccompProgram>>
      compiled;
  for (const auto* names : {&hardening.seccomp_allow, &hardening.seccomp_deny}) {
    if (auto checked = check_names(*names); !checked) return fail(checked.error());
  }
  const auto calls = denied_calls(hardening, capabilities);
  auto& program = compiled[{calls, hardening.seccomp_action}];
  if (program) return program;
  std::set<std::string> obsolete;
  expand("@obsolete", obsolete);
  Filter filter(hardening.seccomp_action);
  if (auto prepared = filter.prepare(); !prepared) return fail(prepared.error());
  for (const std::string& call : calls) {
    if (auto denied = filter.deny(call, obsolete.contains(call)); !denied)
      return fail(denied.error());
  }
  auto result = filter.compile();
  if (result) program = *result;
  return result;
}

}  // namespace pillion::supervisor::sandbox
