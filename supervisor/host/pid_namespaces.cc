#include "supervisor/host/pid_namespaces.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>

#include <fmt/format.h>

#include "supervisor/host/child_environment.h"
#include "supervisor/host/spawn.h"

namespace pillion::supervisor::host {
namespace {

// Names in the keeper's store.
constexpr std::string_view kLife = "pid-life:";
constexpr char kServiceLife[] = "pid-life:";  // no generation has this leaf
constexpr char kServiceSpace[] = "pid-space";
constexpr char kServiceInit[] = "pid-init";
constexpr int kExecTimeoutMs = 2000;

bool has_ended(const Fd& pidfd) {
  pollfd watched{pidfd.get(), POLLIN, 0};
  return ::poll(&watched, 1, 0) != 0;
}

Result<void> wait_for_exec(const SpawnPlan& plan, SpawnedChild& init) {
  pollfd watched{init.error_pipe.get(), POLLIN, 0};
  if (::poll(&watched, 1, kExecTimeoutMs) != 1) return fail("pillion-init does not start");
  SpawnReport report;
  read_spawn_report(init.error_pipe.get(), report);
  if (report.failure) return fail(describe_failure(plan, *report.failure));
  return {};
}

}  // namespace

Result<Fd> open_pid_namespace(pid_t pid) {
  return open_file(fmt::format("/proc/{}/ns/pid", pid), O_RDONLY);
}

// The life line is in the keeper's hands before the init exists: whenever we crash, somebody can
// end it.
Result<PidNamespaces::Made> PidNamespaces::make(const std::string& leaf) {
  auto life = make_pipe();
  if (!life) return fail(life.error());
  if (auto put = keeper_.put_fd(std::string(kLife) + leaf, life->write_end.get()); !put) {
    return fail(put.error());
  }
  life->write_end.reset();
  SpawnPlan plan;
  plan.argv = {program_directory() + "/pillion-init"};
  if (!leaf.empty()) plan.argv.push_back(leaf);
  plan.makes_pid_namespace = true;
  plan.standard_input = life->read_end.get();
  auto init = spawn(plan);
  Result<void> started = init ? wait_for_exec(plan, *init) : fail(init.error());
  Result<Fd> space = started ? open_pid_namespace(init->pid) : fail(started.error());
  if (!space) {
    keeper_.remove_fd(std::string(kLife) + leaf);
    return fail(space.error().wrap("cannot make a pid namespace"));
  }
  return Made{std::move(*space), std::move(init->pidfd)};
}

Result<Fd> PidNamespaces::enter(config::PidNamespace kind, const std::string& leaf) {
  if (kind == config::PidNamespace::Service) return enter_service();
  auto made = make(leaf);
  if (!made) return fail(made.error());
  return std::move(made->space);
}

Result<Fd> PidNamespaces::enter_service() {
  auto space = keeper_.get_fd(kServiceSpace);
  auto init = keeper_.get_fd(kServiceInit);
  if (space && init && !has_ended(*init)) return std::move(*space);
  auto made = make("");
  if (!made) return fail(made.error());
  if (auto put = keeper_.put_fd(kServiceSpace, made->space.get()); !put) return fail(put.error());
  if (auto put = keeper_.put_fd(kServiceInit, made->init.get()); !put) return fail(put.error());
  return std::move(made->space);
}

void PidNamespaces::release(const std::string& leaf) {
  keeper_.remove_fd(std::string(kLife) + leaf);
}

void PidNamespaces::retain(const std::vector<std::string>& leaves) {
  for (const std::string& name : keeper_.list_fds()) {
    if (!name.starts_with(kLife) || name == kServiceLife) continue;
    const bool is_known =
        std::find(leaves.begin(), leaves.end(), name.substr(kLife.size())) != leaves.end();
    if (!is_known) keeper_.remove_fd(name);
  }
}

void PidNamespaces::release_all() {
  retain({});
  give_up_service();
}

void PidNamespaces::give_up_service() {
  for (const char* name : {kServiceLife, kServiceSpace, kServiceInit}) keeper_.remove_fd(name);
}

}  // namespace pillion::supervisor::host
