#include "supervisor/sandbox/landlock.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "supervisor/sandbox/view.h"

namespace pillion::supervisor::sandbox {
namespace {

// Younger than the headers of Debian 12.
constexpr std::uint64_t kAccessTruncate = 1ull << 14;  // version 3
constexpr std::uint64_t kScopeSignal = 1ull << 1;      // version 6
constexpr int kAbiTruncate = 3;
constexpr int kAbiScope = 6;

struct RulesetAttributes {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};

// Reading and executing are not handled, hence free.
std::uint64_t handled_access(int abi) {
  std::uint64_t access =
      LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
      LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
      LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
  if (abi >= kAbiTruncate) access |= kAccessTruncate;
  return access;
}

// A path that is not there is nothing to write to.
int allow_writing(int ruleset, const char* path, std::uint64_t access) {
  const int fd = ::open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT || errno == EACCES ? 0 : errno;
  struct stat status {};
  if (::fstat(fd, &status) == 0 && !S_ISDIR(status.st_mode)) {
    access &= LANDLOCK_ACCESS_FS_WRITE_FILE | kAccessTruncate;
  }
  landlock_path_beneath_attr rule{access, fd};
  const long added =
      ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  const int error = added < 0 ? errno : 0;
  ::close(fd);
  return error;
}

}  // namespace

int landlock_abi() {
  const long version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version < 0 ? 0 : static_cast<int>(version);
}

LandlockPlan plan_landlock(const config::Hardening& hardening, const SandboxFacts& facts, int abi) {
  LandlockPlan plan;
  plan.abi = abi;
  plan.scopes_signals = abi >= kAbiScope;
  if (DIR* root = ::opendir("/")) {
    while (const dirent* entry = ::readdir(root)) {
      const std::string name = entry->d_name;
      const std::string path = "/" + name;
      const bool is_entry = name != "." && name != "..";
      // /bin is a link to /usr/bin on most machines: what it leads to decides.
      if (is_entry && entry->d_type != DT_LNK && !is_system_directory(path)) {
        plan.writable.push_back(path);
      }
    }
    ::closedir(root);
  }
  plan.writable.insert(plan.writable.end(), facts.mount_targets.begin(), facts.mount_targets.end());
  plan.writable.insert(plan.writable.end(), hardening.writable_paths.begin(),
                       hardening.writable_paths.end());
  if (!hardening.read_only_system) plan.writable = {"/"};
  std::sort(plan.writable.begin(), plan.writable.end());
  return plan;
}

int apply_landlock(const LandlockPlan& plan) {
  const std::uint64_t access = handled_access(plan.abi);
  const RulesetAttributes attributes{access, 0, plan.scopes_signals ? kScopeSignal : 0};
  const std::size_t size = plan.abi >= kAbiScope ? sizeof attributes : sizeof(std::uint64_t);
  const auto ruleset =
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, size, 0));
  if (ruleset < 0) return errno;
  for (const std::string& path : plan.writable) {
    if (const int error = allow_writing(ruleset, path.c_str(), access); error != 0) return error;
  }
  const int error = ::syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? errno : 0;
  ::close(ruleset);
  return error;
}

}  // namespace pillion::supervisor::sandbox
