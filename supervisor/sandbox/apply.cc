#include "supervisor/sandbox/apply.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace pillion::supervisor::sandbox {
namespace {

constexpr unsigned long kQuiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// Decimal digits without libc; returns the end.
char* write_number(char* at, unsigned long value) {
  char reversed[20];
  int count = 0;
  do {
    reversed[count++] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value > 0);
  while (count > 0) *at++ = reversed[--count];
  return at;
}

int result_of(long returned) { return returned < 0 ? errno : 0; }

int attach(int slot, const char* target) {
  return slot < 0 ? 0 : bind_opened(slot, target);  // was perhaps not there to be opened
}

int make_file(const char* target) {
  const int fd = ::open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  ::close(fd);
  return 0;
}

int make_directory(const char* target) {
  return ::mkdir(target, 0755) < 0 && errno != EEXIST ? errno : 0;
}

// What is not there needs no cover.
int unless_missing(int error) { return error == ENOENT ? 0 : error; }

int apply_step(const ViewStep& step, int* slots) {
  const char* target = step.target.c_str();
  switch (step.action) {
    case ViewAction::Open:
      slots[step.slot] = ::open(step.source.c_str(), O_PATH | O_CLOEXEC);
      return slots[step.slot] < 0 ? errno : 0;
    case ViewAction::Attach: return attach(slots[step.slot], target);
    case ViewAction::ReadOnly: return unless_missing(make_read_only(target));
    case ViewAction::Tmpfs:
      return result_of(
          ::mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, step.options.c_str()));
    case ViewAction::Proc:
      return result_of(::mount("proc", target, "proc", kQuiet, step.options.c_str()));
    case ViewAction::Sysfs:
      return result_of(::mount("sysfs", target, "sysfs", kQuiet | MS_RDONLY, nullptr));
    case ViewAction::MaskFile: return unless_missing(attach(slots[step.slot], target));
    case ViewAction::Devpts:
      return result_of(
          ::mount("devpts", target, "devpts", MS_NOSUID | MS_NOEXEC, step.options.c_str()));
    case ViewAction::MaskDirectory:
      return unless_missing(
          result_of(::mount("tmpfs", target, "tmpfs", kQuiet | MS_RDONLY, "size=0,mode=0555")));
    case ViewAction::MakeDirectory: return make_directory(target);
    case ViewAction::MakeFile: return make_file(target);
    case ViewAction::Symlink: return result_of(::symlink(step.source.c_str(), target));
  }
  return 0;
}

int write_file(const char* path, const char* text, std::size_t size) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = result_of(::write(fd, text, size));
  ::close(fd);
  return error;
}

int write_map(const char* path, unsigned long outside) {
  char text[40] = "0 ";
  char* end = write_number(text + 2, outside);
  std::memcpy(end, " 1\n", 3);
  return write_file(path, text, static_cast<std::size_t>(end + 3 - text));
}

// `process` is a directory of /proc with its slash.
int map_root_of(const char* process, uid_t uid, gid_t gid) {
  char path[64];
  const std::size_t length = std::strlen(process);
  std::memcpy(path, process, length);
  const auto file = [&](const char* name) {
    std::memcpy(path + length, name, std::strlen(name) + 1);
    return path;
  };
  if (const int error = write_file(file("setgroups"), "deny", 4); error != 0) return error;
  if (const int error = write_map(file("gid_map"), gid); error != 0) return error;
  return write_map(file("uid_map"), uid);
}

// The process that still has root's rights: maps the one that began it, once that says that it has
// entered. Its exit code is an errno.
[[noreturn]] void map_parent(int entered, pid_t parent, uid_t uid, gid_t gid) {
  char byte = 0;
  if (::read(entered, &byte, 1) != 1) ::_exit(EPIPE);
  char process[32] = "/proc/";
  char* end = write_number(process + std::strlen(process), static_cast<unsigned long>(parent));
  std::memcpy(end, "/", 2);
  ::_exit(map_root_of(process, uid, gid));
}

int enter_mapped_by_root(uid_t uid, gid_t gid) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return errno;
  const auto own = static_cast<pid_t>(::syscall(SYS_getpid));
  const long mapper = ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0);
  if (mapper == 0) {
    ::close(ends[1]);
    map_parent(ends[0], own, uid, gid);
  }
  int error = mapper < 0 ? errno : 0;
  if (error == 0 && ::unshare(CLONE_NEWUSER) < 0) error = errno;
  if (error == 0 && ::write(ends[1], "1", 1) != 1) error = errno;
  ::close(ends[0]);
  ::close(ends[1]);
  int status = 0;
  while (mapper > 0 && ::waitpid(static_cast<pid_t>(mapper), &status, 0) < 0 && errno == EINTR) {
  }
  if (error != 0) return error;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

}  // namespace

int bind_opened(int fd, const char* target) {
  char path[64] = "/proc/self/fd/";
  *write_number(path + std::strlen(path), static_cast<unsigned long>(fd)) = '\0';
  return result_of(::mount(path, target, nullptr, MS_BIND | MS_REC, nullptr));
}

int make_mount_read_only(const char* target) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  const long set =
      ::syscall(SYS_mount_setattr, AT_FDCWD, target, 0, &attributes, sizeof attributes);
  if (set == 0 || errno != ENOSYS) return result_of(set);
  struct statfs status {};
  if (::statfs(target, &status) < 0) return errno;
  const auto kept = static_cast<unsigned long>(status.f_flags) & MS_NOEXEC;  // the same bits
  return result_of(::mount(nullptr, target, nullptr,
                           MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | kept,
                           nullptr));
}

int make_read_only(const char* target) {
  if (::mount(target, target, nullptr, MS_BIND | MS_REC, nullptr) < 0) return errno;
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  const long set =
      ::syscall(SYS_mount_setattr, AT_FDCWD, target, AT_RECURSIVE, &attributes, sizeof attributes);
  if (set == 0 || errno != ENOSYS) return result_of(set);
  return result_of(::mount(nullptr, target, nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr));
}

StepFailure apply_view(const std::vector<ViewStep>& steps, Skipped& skipped) {
  int slots[kSlotsMax];
  for (int& slot : slots) slot = -1;
  StepFailure failure;
  for (std::size_t i = 0; i < steps.size() && failure.error == 0; ++i) {
    const ViewStep& step = steps[i];
    StepFailure& feature = skipped.features[static_cast<int>(step.feature)];
    if (feature.error != 0 && step.feature != Feature::None) continue;
    const int error = apply_step(step, slots);
    if (error == 0) continue;
    (step.is_required ? failure : feature) = {error, static_cast<int>(i)};
  }
  for (const int slot : slots) {
    if (slot >= 0) ::close(slot);
  }
  skipped.features[static_cast<int>(Feature::None)] = {};
  return failure;
}

int apply_seccomp(const SeccompProgram& program) {
  sock_fprog code{};
  code.len = static_cast<unsigned short>(program.code.size());
  code.filter = const_cast<sock_filter*>(program.code.data());
  return result_of(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &code));
}

int enter_user_namespace(uid_t uid, gid_t gid) {
  if (uid != ::geteuid() || gid != ::getegid()) return enter_mapped_by_root(uid, gid);
  if (::unshare(CLONE_NEWUSER) < 0) return errno;
  return map_root_of("/proc/self/", uid, gid);
}

}  // namespace pillion::supervisor::sandbox
