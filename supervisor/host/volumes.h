// Volumes of a service: directories that stay, tmpfs that lives in the service's own mount
// namespace and dies with it. Without the privilege to mount, the volume's path itself is a
// directory.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "config/service.h"
#include "runtime/fd.h"
#include "runtime/result.h"
#include "supervisor/host/namespaces.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/spawn.h"

namespace pillion::supervisor::host {

// The group that all children of a service are in, and that owns its volumes (as fsGroup). Derived
// from the name, in a range that no distribution hands out.
gid_t service_group(const std::string& service);

class Volumes {
 public:
  Volumes(const config::Service& service, ServicePaths paths, bool is_privileged);

  // Creates directories and mount points. The plan of the mount namespace is then complete; without
  // privilege it stays empty and children use the paths as they are.
  Result<void> prepare();
  const std::vector<TmpfsMount>& tmpfs() const { return tmpfs_; }
  // Mount points and the locks that keep other services from removing them: held as long as a copy
  // of the descriptor is open.
  const std::vector<std::pair<std::string, Fd>>& held() const { return held_; }
  // What `child` sees, to be bound in its own view.
  std::vector<BindMount> mounts_of(const config::Child& child) const;
  // Removes mount points that nobody uses any more; directories of volumes stay. No copy of a held
  // descriptor may be open elsewhere.
  void remove();
  // What people should know: "volume \"secrets\" is a plain directory: …".
  const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  Result<void> prepare_directory(const config::Volume& volume, const std::string& path);
  Result<void> prepare_mount_point(const config::Volume& volume);
  uid_t owner_of(const config::Volume& volume) const;
  std::string source_of(const config::Volume& volume) const;
  void hold_mount_point(const std::string& path);

  const config::Service& service_;
  ServicePaths paths_;
  bool is_privileged_;
  gid_t group_;
  std::vector<TmpfsMount> tmpfs_;
  std::vector<std::pair<std::string, Fd>> held_;  // mount points with their locks, outermost first
  std::vector<std::string> remarks_;
};

// mkdir -p; appends what it made to `made` when that is not null.
Result<void> make_directories(const std::string& path, unsigned mode,
                              std::vector<std::string>* made = nullptr);

}  // namespace pillion::supervisor::host
