// What crashed runs have left on this machine: processes in a service's cgroups, the cgroups, the
// network namespace with its interface and tables, mount points, the runtime directory. A service
// is dead when its lock can be taken and no keeper of its name runs; while it is looked at or
// cleaned the lock is held, so that nobody starts it meanwhile. Volumes, state and logs are not
// leftovers.
//
// For the command line: blocking.
#pragma once

#include <string>
#include <vector>

#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::supervisor::host {

struct Leftover {
  std::string kind;  // "process", "cgroup", "network", "mount", "directory"
  std::string what;  // for people: "process 1234 (sleep)"
  bool operator==(const Leftover&) const = default;
};

// Names that something on this machine is called after, dead or alive, sorted.
std::vector<std::string> find_service_names();

class DeadService {
 public:
  // Takes the service's lock. EBUSY in the error when it runs.
  static Result<DeadService> take(const std::string& name);
  DeadService(DeadService&&) = default;
  DeadService& operator=(DeadService&&) = default;
  // Gives the lock back.
  ~DeadService();

  const std::string& name() const { return name_; }
  std::vector<Leftover> find() const;
  // Removes everything; what could not be removed is an error that names it. What was removed is
  // added to `removed`, also then.
  Result<void> remove(std::vector<Leftover>& removed);

 private:
  DeadService(std::string name, Fd lock) : name_(std::move(name)), lock_(std::move(lock)) {}
  Result<void> end_processes(std::vector<Leftover>& removed) const;
  Result<void> remove_cgroups(std::vector<Leftover>& removed) const;
  Result<void> remove_network(std::vector<Leftover>& removed) const;
  Result<void> remove_runtime_directory(std::vector<Leftover>& removed) const;

  std::string name_;
  Fd lock_;  // closed when the service has no runtime directory
};

}  // namespace pillion::supervisor::host
