// From a child's configuration to the SpawnPlan that starts it: program, environment, credentials,
// limits. Pure apart from reading env_file, the user database and our own environment.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/service.h"
#include "runtime/result.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/spawn.h"

namespace pillion::supervisor::host {

struct ChildContext {
  const config::Service& service;
  const config::Child& child;
  const ServicePaths& paths;
  std::string notify_socket;
  std::uint64_t generation = 0;
  bool is_privileged = false;       // root: users and capabilities as the file says
  bool holds_capabilities = false;  // a child must lose them, though it keeps our user
};

// argv: the child's command, or our component beside this program with `--config`.
std::vector<std::string> command_of(const ChildContext& context);

// All of the environment but LISTEN_*. An env_file that cannot be read or parsed is an error.
Result<std::map<std::string, std::string>> environment_of(const ChildContext& context);

// Empty without privilege: the child keeps our ids.
std::optional<Credentials> credentials_of(const ChildContext& context);

// Whether somebody in the service issues secrets and somebody else reads logs.
bool tells_issued_secrets(const config::Service& service);

// Numbers of the capabilities it keeps; unknown names are skipped (loading has checked them).
std::vector<int> capabilities_of(const config::Child& child);

// Looks up the block devices of `limits.io`; one that is not found is left empty, with the problem.
CgroupLimits cgroup_limits_of(const config::Child& child);

// Everything above together; cgroup, namespaces, mounts, output and listeners are the caller's.
Result<SpawnPlan> make_spawn_plan(const ChildContext& context);

// Directory of this program, where its siblings are.
std::string program_directory();

}  // namespace pillion::supervisor::host
