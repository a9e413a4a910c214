#include "netns/namespace.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>

namespace pillion::netns {
namespace {

constexpr const char* kDirectory = "/run/netns";
constexpr int kLockAttempts = 1000;  // ten milliseconds apart

Result<void> lock(const Fd& directory) {
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    if (::flock(directory.get(), LOCK_EX | LOCK_NB) == 0) return {};
    if (errno != EWOULDBLOCK && errno != EINTR) break;
    const timespec pause{0, 10'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return fail_errno(std::string("cannot lock ") + kDirectory);
}

// Only a mount can be shared, so the directory is first bound onto itself. Shared, a pin made in
// one mount namespace is seen and can be removed in all.
Result<void> make_shared_mount() {
  for (bool is_bound = false;; is_bound = true) {
    if (::mount("", kDirectory, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
    if (errno != EINVAL || is_bound) break;
    if (::mount(kDirectory, kDirectory, "none", MS_BIND | MS_REC, nullptr) < 0) break;
  }
  return fail_errno(std::string("cannot make ") + kDirectory + " a shared mount");
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

std::string join_path(const std::string& join) {
  if (join.starts_with("/")) return join;
  if (join.starts_with("pid:")) return "/proc/" + join.substr(4) + "/ns/net";
  return std::string(kDirectory) + "/" + join;
}

Result<Fd> current_namespace() { return open_namespace_file("/proc/self/ns/net"); }

Result<Fd> open_namespace_file(const std::string& path) { return open_file(path, O_RDONLY); }

Result<Fd> open_namespace(const Wanted& wanted) {
  switch (wanted.mode) {
    case Mode::Bridged:
    case Mode::Sealed:
      if (wanted.is_in_place) return current_namespace();
      return open_namespace_file(names_of(wanted.service).netns_path);
    case Mode::Host: return current_namespace();
    case Mode::Join: {
      auto fd = open_namespace_file(join_path(wanted.join));
      if (!fd)
        return fail(fd.error().wrap("cannot join the network namespace '" + wanted.join + "'"));
      return fd;
    }
  }
  PILLION_ASSERT(false);
}

Result<NamespaceScope> NamespaceScope::enter(int namespace_fd) {
  auto home = current_namespace();
  if (!home) return fail(home.error());
  struct stat here {};
  struct stat there {};
  if (::fstat(home->get(), &here) == 0 && ::fstat(namespace_fd, &there) == 0 &&
      is_same_file(here, there)) {
    return NamespaceScope(Fd());  // entering, even on the spot, would need CAP_SYS_ADMIN
  }
  if (::setns(namespace_fd, CLONE_NEWNET) < 0) return fail_errno("cannot enter network namespace");
  return NamespaceScope(std::move(*home));
}

NamespaceScope::~NamespaceScope() {
  if (!home_ || ::setns(home_.get(), CLONE_NEWNET) == 0) return;
  // Going on, if only to undo, would change the wrong machine; `remove` cleans up later.
  std::perror("pillion-netns: cannot return to the host's network namespace");
  ::_exit(71);
}

Result<Fd> lock_netns_directory() {
  if (::mkdir(kDirectory, 0755) < 0 && errno != EEXIST) {
    return fail_errno(std::string("cannot create ") + kDirectory);
  }
  auto directory = open_file(kDirectory, O_RDONLY | O_DIRECTORY);
  if (!directory) return directory;
  if (auto locked = lock(*directory); !locked) return fail(locked.error());
  if (auto shared = make_shared_mount(); !shared) return fail(shared.error());
  return directory;
}

Result<Fd> create_pinned_namespace(const std::string& path) {
  {
    auto file = open_file(path, O_RDONLY | O_CREAT | O_EXCL, 0);
    if (!file) return fail(file.error());
  }
  auto home = current_namespace();
  if (!home) return fail(home.error());
  const auto scope = NamespaceScope::returning_to(std::move(*home));
  if (::unshare(CLONE_NEWNET) < 0) return fail_errno("cannot unshare the network namespace");
  if (::mount("/proc/self/ns/net", path.c_str(), "none", MS_BIND, nullptr) < 0) {
    return fail_errno("cannot bind the network namespace to " + path);
  }
  return current_namespace();
}

Result<bool> remove_pin(const std::string& path) {
  // Each crashed run may have left a mount on top of the one before.
  while (::umount2(path.c_str(), MNT_DETACH) == 0) {
  }
  if (errno != EINVAL && errno != ENOENT) return fail_errno("cannot unmount " + path);
  if (::unlink(path.c_str()) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_errno("cannot remove " + path);
}

std::optional<int> process_in(int namespace_fd) {
  struct stat wanted {};
  if (::fstat(namespace_fd, &wanted) < 0) return std::nullopt;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return std::nullopt;
  while (const dirent* entry = ::readdir(proc.get())) {
    int pid = 0;
    const std::string_view name(entry->d_name);
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ptr != name.data() + name.size() || pid == ::getpid()) continue;
    struct stat seen {};
    const std::string path = "/proc/" + std::string(name) + "/ns/net";
    if (::stat(path.c_str(), &seen) == 0 && is_same_file(seen, wanted)) return pid;
  }
  return std::nullopt;
}

bool is_initial_namespace() {
  // Settings of the whole network stack exist in the first namespace only.
  return ::access("/proc/sys/net/core/dev_weight", F_OK) == 0;
}

}  // namespace pillion::netns
