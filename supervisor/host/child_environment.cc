#include "supervisor/host/child_environment.h"

#include <cap-ng.h>
#include <grp.h>
#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

#include <fmt/format.h>

#include "supervisor/host/block_device.h"
#include "supervisor/host/env_file.h"
#include "supervisor/host/volumes.h"

namespace pillion::supervisor::host {
namespace {

constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string component_program(config::Component component) {
  return program_directory() + "/pillion-" + std::string(config::name_of(component));
}

uid_t uid_of(const ChildContext& context) {
  const auto& user = context.child.user;
  return context.is_privileged && user && user->uid ? *user->uid : ::geteuid();
}

std::string home_of(uid_t uid) {
  char buffer[4096];
  passwd entry{};
  passwd* found = nullptr;
  const bool is_found = ::getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found;
  return is_found ? found->pw_dir : "/";
}

void inherit(std::map<std::string, std::string>& env, const std::string& name) {
  if (const char* value = std::getenv(name.c_str())) env[name] = value;
}

}  // namespace

std::string program_directory() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  if (length <= 0) return "/usr/bin";
  const std::string_view text(path, static_cast<std::size_t>(length));
  return std::string(text.substr(0, text.rfind('/')));
}

std::vector<std::string> command_of(const ChildContext& context) {
  if (!context.child.use) return context.child.command;
  return {component_program(*context.child.use), "--config",
          context.paths.child_table(context.child.name)};
}

Result<std::map<std::string, std::string>> environment_of(const ChildContext& context) {
  const config::Child& child = context.child;
  std::map<std::string, std::string> env;
  env["PATH"] = kDefaultPath;
  env["HOME"] = home_of(uid_of(context));
  if (child.use) {
    env["STATE_DIRECTORY"] = context.paths.child_state(child.name);
    inherit(env, "PILLION_LOG_FORMAT");
    inherit(env, "PILLION_LOG_LEVEL");
  }
  const bool is_concerned =
      child.use == config::Component::Secrets || child.use == config::Component::Logs;
  if (is_concerned && tells_issued_secrets(context.service)) {
    env["PILLION_ISSUED_DIR"] = context.paths.issued();
  }
  for (const std::string& name : child.inherit_env) inherit(env, name);
  for (const std::string& path : child.env_file) {
    auto text = read_file(path);
    if (!text) return fail(text.error().wrap("env_file of " + child.name));
    auto variables = parse_env_file(*text, path);
    if (!variables) return fail(variables.error().wrap("env_file of " + child.name));
    for (auto& [key, value] : *variables) env[key] = value;
  }
  for (const auto& [key, value] : child.env) env[key] = value;
  const auto grace = std::chrono::ceil<std::chrono::seconds>(context.service.settings.stop_grace);
  env["PILLION_DRAIN_SECONDS"] = std::to_string(grace.count());
  env["PILLION_SERVICE"] = context.service.name();
  env["PILLION_CHILD"] = child.name;
  env["PILLION_GENERATION"] = std::to_string(context.generation);
  env["NOTIFY_SOCKET"] = context.notify_socket;
  if (child.watchdog) {
    env["WATCHDOG_USEC"] = std::to_string(std::chrono::microseconds(*child.watchdog).count());
  }
  return env;
}

std::optional<Credentials> credentials_of(const ChildContext& context) {
  if (!context.is_privileged) return std::nullopt;
  const config::Child& child = context.child;
  Credentials credentials;
  credentials.uid = uid_of(context);
  credentials.gid = child.user ? child.user->gid.value_or(credentials.uid) : ::getegid();
  if (child.group && child.group->gid) credentials.gid = *child.group->gid;
  credentials.groups.push_back(service_group(context.service.name()));
  for (const auto& group : child.supplementary_groups) {
    if (group.gid) credentials.groups.push_back(*group.gid);
  }
  if (child.user && !child.user->name.empty()) {
    gid_t found[64];
    int count = 64;
    if (::getgrouplist(child.user->name.c_str(), credentials.gid, found, &count) > 0) {
      credentials.groups.insert(credentials.groups.end(), found, found + count);
    }
  }
  return credentials;
}

bool tells_issued_secrets(const config::Service& service) {
  const auto has = [&](config::Component component) {
    return std::any_of(service.children.begin(), service.children.end(),
                       [&](const config::Child& child) { return child.use == component; });
  };
  return has(config::Component::Secrets) && has(config::Component::Logs);
}

std::vector<int> capabilities_of(const config::Child& child) {
  std::vector<int> numbers;
  const auto add = [&](std::string name) {
    if (name.starts_with("CAP_")) name.erase(0, 4);
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
      return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    const int number = ::capng_name_to_capability(name.c_str());
    if (number >= 0) numbers.push_back(number);
  };
  for (const std::string& name : child.capabilities) add(name);
  // The two exceptions to "no capabilities": secrets gives its files to their owner, logs reads
  // files of whoever writes them.
  if (child.use == config::Component::Secrets) add("CAP_CHOWN");
  if (child.use == config::Component::Logs) add("CAP_DAC_READ_SEARCH");
  return numbers;
}

namespace {

CgroupIoLimit io_limit_of(const config::IoLimit& io) {
  CgroupIoLimit limit;
  limit.path = io.device;
  auto device = find_block_device(io.device);
  if (device) {
    limit.device = *device;
  } else {
    limit.problem = device.error().message();
  }
  if (io.read_bandwidth) limit.read_bytes = io.read_bandwidth->value;
  if (io.write_bandwidth) limit.write_bytes = io.write_bandwidth->value;
  if (io.read_iops) limit.read_operations = *io.read_iops;
  if (io.write_iops) limit.write_operations = *io.write_iops;
  return limit;
}

}  // namespace

CgroupLimits cgroup_limits_of(const config::Child& child) {
  CgroupLimits limits;
  if (child.limits.cpu) limits.cpu_millis = child.limits.cpu->value;
  if (child.requests.cpu) limits.cpu_request_millis = child.requests.cpu->value;
  if (child.limits.memory) limits.memory_bytes = child.limits.memory->value;
  if (child.limits.memory_high) limits.memory_high_bytes = child.limits.memory_high->value;
  if (child.requests.memory) limits.memory_low_bytes = child.requests.memory->value;
  if (child.limits.swap) limits.swap_bytes = child.limits.swap->value;
  if (child.limits.pids) limits.pids = *child.limits.pids;
  if (child.limits.io_weight) limits.io_weight = *child.limits.io_weight;
  if (child.requests.memory_min) limits.memory_min_bytes = child.requests.memory_min->value;
  for (const config::IoLimit& io : child.limits.io) limits.io.push_back(io_limit_of(io));
  limits.cpuset = child.limits.cpuset;
  limits.memory_nodes = child.limits.memory_nodes;
  limits.has_oom_group = child.oom_group;
  return limits;
}

Result<SpawnPlan> make_spawn_plan(const ChildContext& context) {
  SpawnPlan plan;
  auto env = environment_of(context);
  if (!env) return fail(env.error());
  plan.env = std::move(*env);
  plan.argv = command_of(context);
  plan.working_directory = context.child.working_directory;
  plan.credentials = credentials_of(context);
  plan.drops_privileges = context.is_privileged || context.holds_capabilities;
  if (context.is_privileged) plan.capabilities = capabilities_of(context.child);
  plan.no_new_privileges = context.child.hardening.no_new_privileges;
  plan.nice = context.child.nice;
  plan.oom_score_adjust = context.child.oom_score_adjust;
  plan.umask = context.child.umask.value;
  const auto& limits = context.child.limits;
  plan.resource_limits.push_back({RLIMIT_CORE, limits.core_size ? limits.core_size->value : 0});
  if (limits.open_files) plan.resource_limits.push_back({RLIMIT_NOFILE, *limits.open_files});
  return plan;
}

}  // namespace pillion::supervisor::host
