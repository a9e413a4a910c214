#include "supervisor/host/confinement.h"

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

// Paths that the command mentions, also as in --config=/tmp/x, and where it runs.
std::vector<std::string> used_paths_of(const SpawnPlan& plan) {
  std::vector<std::string> paths{plan.working_directory};
  for (const std::string& word : plan.argv) {
    const auto equals = word.find('=');
    if (word.starts_with('/')) paths.push_back(word);
    if (equals != std::string::npos) paths.push_back(word.substr(equals + 1));
  }
  return paths;
}

}  // namespace

Result<void> Confinement::plan(const config::Child& child, SpawnPlan& plan) {
  sandbox::SandboxFacts facts;
  const uid_t uid = plan.credentials ? plan.credentials->uid : ::geteuid();
  facts.runs_as_root = uid == 0;
  facts.can_make_namespaces = plan.mount_namespace >= 0;
  facts.can_mount =
      facts.can_make_namespaces || (child.hardening.user_namespace && ::geteuid() != 0);
  facts.is_privileged = setup_.privileges().is_root && setup_.privileges().can_mount;
  facts.has_own_network = plan.network_namespace >= 0;
  facts.used_paths = used_paths_of(plan);
  facts.used_paths.push_back(paths_.runtime);
  facts.used_paths.push_back(paths_.child_state(child.name));
  for (const BindMount& mount : plan.mounts) facts.mount_targets.push_back(mount.target);
  auto sandbox = sandbox::make_sandbox(child, facts);
  if (!sandbox) return fail(sandbox.error());
  plan.sandbox = std::move(*sandbox);
  note_missing(child.name, plan.sandbox.missing);
  return {};
}

Result<void> Confinement::enter_pid_namespace(const std::string& leaf, SpawnPlan& plan) {
  const config::PidNamespace kind = plan.sandbox.pid_namespace;
  if (kind == config::PidNamespace::Host) return {};
  auto space = pid_namespaces_.enter(kind, leaf);
  if (!space) return fail(space.error());
  plan.pid_namespace = space->get();
  plan.owned.push_back(std::move(*space));
  return {};
}

bool Confinement::retry_pid_namespace(const std::string& leaf, SpawnPlan& plan) {
  if (plan.pid_namespace < 0) return false;
  pid_namespaces_.give_up_service();
  return enter_pid_namespace(leaf, plan).has_value();
}

void Confinement::share(pid_t pid, SpawnPlan& plan) {
  if (plan.sandbox.view.empty() || pid <= 0) return;
  if (plan.sandbox.pid_namespace != config::PidNamespace::Host) {
    if (auto space = open_pid_namespace(pid)) {
      plan.pid_namespace = space->get();
      plan.owned.push_back(std::move(*space));
    }
  }
  auto view = open_file(fmt::format("/proc/{}/ns/mnt", pid), O_RDONLY);
  if (!view) return;
  plan.mount_namespace = view->get();
  plan.shares_mount_namespace = true;
  plan.owned.push_back(std::move(*view));
}

void Confinement::note_missing(const std::string& child, const std::vector<std::string>& missing) {
  for (const std::string& what : missing) {
    if (missing_[what].insert(child).second) {
      log::warn("hardening of {} is without {}", child, what);
    }
  }
}

std::string Confinement::remark() const {
  std::string text;
  for (const auto& [what, children] : missing_) {
    text += fmt::format("{}{} for {}", text.empty() ? "hardening is without " : "; ", what,
                        fmt::join(children, ", "));
  }
  return text;
}

}  // namespace pillion::supervisor::host
