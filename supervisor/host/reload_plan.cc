#include "supervisor/host/reload_plan.h"

#include <algorithm>

#include "supervisor/host/listeners.h"

namespace pillion::supervisor::host {
namespace {

// What a proxy reads when it starts and never again; for the rest see Server::reload().
config::ProxyConfig fixed_part(config::ProxyConfig proxy) {
  proxy.inbound = {};
  proxy.outbound = {};
  proxy.upstreams.clear();
  proxy.rules.clear();
  proxy.identity.reset();
  proxy.limits = {};
  proxy.timeouts = {};
  proxy.drain = {};
  proxy.via.clear();
  for (config::ExplicitListener& listener : proxy.explicit_listeners) {
    listener.upstream.clear();
    listener.fallback.clear();
    listener.protocol = config::ProxyProtocol::Http;
  }
  return proxy;
}

config::LogsConfig fixed_part(config::LogsConfig logs) {
  logs.inputs.clear();
  logs.outputs.clear();
  logs.fields = {};
  logs.checkpoint = {};
  return logs;
}

config::SecretsConfig fixed_part(config::SecretsConfig secrets) {
  secrets.files.clear();
  secrets.vault.reset();
  secrets.proxy = {};
  secrets.refresh = {};
  secrets.on_unavailable = config::OnUnavailable::Wait;
  return secrets;
}

config::MetricsConfig fixed_part(config::MetricsConfig metrics) {
  metrics.inputs.clear();
  metrics.outputs.clear();
  metrics.labels.clear();
  metrics.max_series = {};
  metrics.has_created = {};
  return metrics;
}

template<class T>
bool has_same_fixed_part(const config::ComponentConfig& before,
                         const config::ComponentConfig& after) {
  const T* old = std::get_if<T>(&before);
  const T* next = std::get_if<T>(&after);
  return old && next && fixed_part(*old) == fixed_part(*next);
}

std::vector<ListenerPlan> listeners_of(const config::Service& service, const std::string& child,
                                       const ServicePaths& paths) {
  std::vector<ListenerPlan> plans = plan_listeners(service, paths);
  std::erase_if(plans, [&](const ListenerPlan& plan) { return plan.child != child; });
  return plans;
}

}  // namespace

bool ReloadPlan::is_empty() const {
  const auto is_same = [](const auto& change) { return change.second == core::ChildChange::None; };
  const bool has_new = replan.plan.children.size() != replan.changes.size();
  return !has_new && removed.empty() && differences.empty() && restart_tables.empty() &&
         std::all_of(replan.changes.begin(), replan.changes.end(), is_same);
}

bool can_reload(const config::ComponentConfig& before, const config::ComponentConfig& after) {
  return has_same_fixed_part<config::ProxyConfig>(before, after) ||
         has_same_fixed_part<config::LogsConfig>(before, after) ||
         has_same_fixed_part<config::SecretsConfig>(before, after) ||
         has_same_fixed_part<config::MetricsConfig>(before, after);
}

ReloadPlan make_reload_plan(const config::Service& before, const config::Service& after,
                            const ServicePaths& paths) {
  ReloadPlan plan;
  plan.replan = core::make_replan(before, after);
  plan.differences = config::find_differences(before, after);
  plan.restart_tables = core::find_restart_tables(before, after);
  if (before.settings.metrics != after.settings.metrics) {
    plan.restart_tables.emplace_back("service.metrics");
  }
  for (const config::Child& child : before.children) {
    if (!after.find(child.name)) plan.removed.push_back(child.name);
  }
  for (auto& [name, change] : plan.replan.changes) {
    if (change != core::ChildChange::Reload) continue;
    const bool has_same_listeners =
        listeners_of(before, name, paths) == listeners_of(after, name, paths);
    if (!has_same_listeners || !can_reload(before.find(name)->config, after.find(name)->config)) {
      change = core::ChildChange::Replace;
    }
  }
  // Capture begins and ends with the service: a proxy cannot come or go under a running app.
  const auto* proxy_before = before.using_component(config::Component::Proxy);
  const auto* proxy_after = after.using_component(config::Component::Proxy);
  const bool has_network = after.network.mode != config::NetworkMode::Host ||
                           after.network.intercept.inbound || after.network.intercept.outbound;
  if (has_network && (proxy_before != nullptr) != (proxy_after != nullptr)) {
    const auto* proxy = proxy_before ? proxy_before : proxy_after;
    plan.restart_tables.push_back(std::string(config::name_of(proxy->role)) + "." + proxy->name);
  }
  return plan;
}

}  // namespace pillion::supervisor::host
