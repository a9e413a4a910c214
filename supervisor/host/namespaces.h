// Being in another network namespace for a moment, and making the service's mount namespace.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::supervisor::host {

// The calling thread is in the given network namespace while this lives: sockets made meanwhile
// belong there. Namespaces are per thread, so only calls of this thread are affected. Going back
// cannot fail for a reason that one could live with: it asserts.
class NetworkNamespaceVisit {
 public:
  // -1 = stay where we are.
  static Result<NetworkNamespaceVisit> enter(int network_namespace);
  NetworkNamespaceVisit(NetworkNamespaceVisit&&) = default;
  NetworkNamespaceVisit& operator=(NetworkNamespaceVisit&&) = delete;
  ~NetworkNamespaceVisit();

 private:
  explicit NetworkNamespaceVisit(Fd home) : home_(std::move(home)) {}
  Fd home_;
};

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
