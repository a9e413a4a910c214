// Network namespaces as kernel objects: entering, creating and pinning under /run/netns the way
// iproute2 does, so that `ip netns` lists ours. Single-threaded programs only: entering
// moves the calling thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "netns/wanted.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::netns {

// The calling thread's network namespace.
Result<Fd> current_namespace();
// The namespace that `wanted` names: pinned (bridged), joined by name, path or pid, or the current.
Result<Fd> open_namespace(const Wanted& wanted);
// The file of the namespace that `join` names: a name under /run/netns, an absolute path or
// "pid:N".
std::string join_path(const std::string& join);
Result<Fd> open_namespace_file(const std::string& path);

// Moves the thread into a namespace for its lifetime, and back.
class NamespaceScope {
 public:
  static Result<NamespaceScope> enter(int namespace_fd);
  // For a thread that is about to move by itself: back to `home` at the end.
  static NamespaceScope returning_to(Fd home) { return NamespaceScope(std::move(home)); }
  NamespaceScope(NamespaceScope&&) = default;
  NamespaceScope& operator=(NamespaceScope&&) = delete;
  ~NamespaceScope();

 private:
  explicit NamespaceScope(Fd home) : home_(std::move(home)) {}
  Fd home_;
};

// Makes /run/netns a shared mount, once, and locks it: one creation at a time on a machine, also
// against `ip netns`. Waits at most ten seconds for the lock.
Result<Fd> lock_netns_directory();

// Creates a namespace and binds it to `path`, which must not exist. Needs the lock.
Result<Fd> create_pinned_namespace(const std::string& path);

// Unmounts and unlinks, whatever is left of the pin; true when there was something.
Result<bool> remove_pin(const std::string& path);

// A process that is in the namespace, other than the caller.
std::optional<int> process_in(int namespace_fd);

// True in the machine's first network namespace, false in a container's or a service's.
bool is_initial_namespace();

}  // namespace pillion::netns
