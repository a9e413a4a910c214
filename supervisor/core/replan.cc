#include "supervisor/core/replan.h"

#include <algorithm>
#include <set>

#include "config/service.h"
#include "supervisor/core/child.h"

namespace pillion::supervisor::core {

namespace {

// Everything that a running process does not notice when it changes.
void take_in_place(config::Child& child, const config::Child& from) {
  child.after = from.after;
  child.requests = from.requests;
  const auto open_files = child.limits.open_files;
  const auto core_size = child.limits.core_size;
  child.limits = from.limits;  // the cgroup's; what is an rlimit needs a new process
  child.limits.open_files = open_files;
  child.limits.core_size = core_size;
  child.oom_group = from.oom_group;
  child.startup_probe = from.startup_probe;
  child.readiness_probe = from.readiness_probe;
  child.liveness_probe = from.liveness_probe;
  const auto notification_fd = child.gate.notification_fd;
  child.gate = from.gate;
  child.gate.notification_fd = notification_fd;
  child.scrape = from.scrape;
  child.start_timeout = from.start_timeout;
  child.post_start = from.post_start;
  child.pre_stop = from.pre_stop;
  child.stop_signal = from.stop_signal;
  child.signal_scope = from.signal_scope;
  child.restart = from.restart;
  child.backoff = from.backoff;
  child.max_restarts = from.max_restarts;
  child.restart_window = from.restart_window;
  child.on_give_up = from.on_give_up;
  child.success_exit_codes = from.success_exit_codes;
  child.exit_actions = from.exit_actions;
  child.output_log = from.output_log;
}

bool has_port_template(const config::Child& child) {
  const auto has = [](const std::string& text) { return text.find("{port") != std::string::npos; };
  return std::any_of(child.command.begin(), child.command.end(), has) ||
         std::any_of(child.env.begin(), child.env.end(),
                     [&](const auto& entry) { return has(entry.second); });
}

// What [network] makes once, at the start. The sockets of published ports that our own proxy is
// handed can come and go, and the lists of what is captured are loaded anew.
config::Network fixed_part(config::Network network, bool has_proxy) {
  config::Intercept& intercept = network.intercept;
  if (has_proxy && intercept.inbound) {
    std::erase_if(network.publish, [](const config::Publish& publish) {
      return publish.transport == config::Transport::Tcp;
    });
  }
  intercept.exclude_inbound_ports.clear();
  intercept.exclude_outbound_ports.clear();
  intercept.include_outbound_ports.clear();
  intercept.exclude_outbound_cidrs.clear();
  intercept.include_outbound_cidrs.clear();
  intercept.exclude_users.clear();
  intercept.exclude_groups.clear();
  return network;
}

// Kahn's algorithm: is every child reached when only those with all dependencies done are taken?
bool has_circle(const ServicePlan& plan) {
  std::vector<bool> is_done(plan.children.size(), false);
  for (std::size_t round = 0; round < plan.children.size(); ++round) {
    for (ChildId id = 0; id < plan.children.size(); ++id) {
      const auto& on = plan.children[id].dependencies;
      is_done[id] = is_done[id] || std::all_of(on.begin(), on.end(),
                                               [&](ChildId other) { return is_done[other]; });
    }
  }
  return !std::all_of(is_done.begin(), is_done.end(), [](bool done) { return done; });
}

}  // namespace

ChildChange compare_children(const config::Child& before, const config::Child& after) {
  if (before == after) return ChildChange::None;
  config::Child adapted = before;
  take_in_place(adapted, after);
  // Declared ports are for the proxy and the rules; the process is told of those it asks for.
  if (!has_port_template(before) && !has_port_template(after)) adapted.ports = after.ports;
  if (adapted == after) return ChildChange::InPlace;
  if (before.use && before.use == after.use) {
    adapted.config = after.config;
    if (adapted == after) return ChildChange::Reload;
  }
  return ChildChange::Replace;
}

Replan make_replan(const config::Service& before, const config::Service& after) {
  Replan replan{make_plan(after), {}};
  for (const config::Child& child : after.children) {
    const config::Child* old = before.find(child.name);
    if (old) replan.changes[child.name] = compare_children(*old, child);
  }
  return replan;
}

std::vector<std::string> find_restart_tables(const config::Service& before,
                                             const config::Service& after) {
  std::vector<std::string> tables;
  if (before.settings.name != after.settings.name) tables.push_back("service.name");
  if (before.settings.metrics != after.settings.metrics) tables.push_back("service.metrics");
  const auto fixed_of = [](const config::Service& service) {
    return fixed_part(service.network,
                      service.using_component(config::Component::Proxy) != nullptr);
  };
  if (!(fixed_of(before) == fixed_of(after))) tables.push_back("network");
  if (before.volumes != after.volumes) tables.push_back("volume");
  return tables;
}

std::vector<std::string> slot_names(const ServicePlan& plan, const Snapshot* snapshot) {
  std::vector<std::string> names;
  if (snapshot) {
    for (const ChildSnapshot& child : snapshot->children) names.push_back(child.name);
  }
  for (const ChildPlan& child : plan.children) {
    if (std::find(names.begin(), names.end(), child.name) == names.end()) {
      names.push_back(child.name);
    }
  }
  return names;
}

bool goes_by_old_plan(const ChildSnapshot& child) {
  return child.is_outdated || child.membership == static_cast<int>(Membership::Leaving);
}

std::string find_plan_fault(const ServicePlan& plan) {
  std::set<std::string> names;
  unsigned apps = 0;
  for (const ChildPlan& child : plan.children) {
    if (child.name.empty()) return "a child has no name";
    if (!names.insert(child.name).second) return "two children are named " + child.name;
    if (child.role == Role::App) ++apps;
    for (const ChildId on : child.dependencies) {
      if (on >= plan.children.size()) return child.name + " depends on a child that is not there";
    }
  }
  if (apps != 1) return "there must be exactly one app";
  if (has_circle(plan)) return "children depend on each other in a circle";
  return {};
}

}  // namespace pillion::supervisor::core
