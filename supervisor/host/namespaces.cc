#include "supervisor/host/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <thread>

namespace pillion::supervisor::host {

Result<Fd> make_inside(int network_namespace, const std::function<Result<Fd>()>& make) {
  if (network_namespace < 0) return make();
  Result<Fd> result = fail("not run");
  std::thread visitor([&] {
    if (::setns(network_namespace, CLONE_NEWNET) < 0) {
      result = fail_errno("cannot enter the service's network namespace");
    } else {
      result = make();
    }
  });
  visitor.join();
  return result;
}

Result<Fd> make_network_namespace() {
  Result<Fd> result = fail("not run");
  std::thread maker([&] {
    if (::unshare(CLONE_NEWNET) < 0) {
      result = fail_errno("cannot create a network namespace");
    } else {
      result = open_file("/proc/thread-self/ns/net", O_RDONLY);
    }
  });
  maker.join();
  return result;
}

namespace {

Result<Fd> fill_mount_namespace(const MountNamespacePlan& plan) {
  if (::unshare(CLONE_NEWNS) < 0) return fail_errno("cannot create a mount namespace");
  // Slave: what the host mounts later appears here, nothing of ours appears there.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
    if (errno == EINVAL) {
      return fail(
          "cannot make the mount namespace private: / is not a mount point, as in a chroot; "
          "enter that root with pivot_root (as container runtimes do) instead");
    }
    return fail_errno("cannot make the mount namespace private");
  }
  for (const TmpfsMount& volume : plan.tmpfs) {
    if (::mount("tmpfs", volume.directory.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                volume.options.c_str()) < 0) {
      return fail_errno("cannot mount a tmpfs on " + volume.directory);
    }
  }
  for (const FileBind& bind : plan.binds) {
    if (::mount(bind.source.c_str(), bind.target.c_str(), nullptr, MS_BIND, nullptr) < 0) {
      return fail_errno("cannot bind " + bind.source + " over " + bind.target);
    }
  }
  return open_file("/proc/thread-self/ns/mnt", O_RDONLY);
}

}  // namespace

// On a thread of its own, which ends there: unshare affects the calling thread only.
Result<Fd> make_mount_namespace(const MountNamespacePlan& plan) {
  Result<Fd> result = fail("not run");
  std::thread worker([&] { result = fill_mount_namespace(plan); });
  worker.join();
  return result;
}

}  // namespace pillion::supervisor::host
