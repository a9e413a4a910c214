// Being in another network namespace for a moment, and making the service's mount namespace.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::supervisor::host {

// Runs `make`, which makes a socket, in the given network namespace; -1 = where we are. On a thread
// of its own, because without root nobody may return to the host's namespace.
Result<Fd> make_inside(int network_namespace, const std::function<Result<Fd>()>& make);

// A new network namespace with nothing in it; lives as long as a descriptor of it, or a process.
Result<Fd> make_network_namespace();

struct TmpfsMount {
  std::string directory;
  std::string options;  // "size=1048576,mode=0711,uid=1339,gid=0"
};

struct FileBind {
  std::string source;
  std::string target;
};

// What the service's mount namespace holds beside a slave copy of the host's mounts.
struct MountNamespacePlan {
  std::vector<TmpfsMount> tmpfs;
  std::vector<FileBind> binds;
};

// A private (slave) mount namespace; lives as long as a descriptor of it, or a process in it.
Result<Fd> make_mount_namespace(const MountNamespacePlan& plan);

}  // namespace pillion::supervisor::host
