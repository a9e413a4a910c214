// From the accepted configuration to what the core must know of it.
#include <algorithm>

#include "config/service.h"
#include "supervisor/core/plan.h"

namespace pillion::supervisor::core {

namespace {

Role plan_role(config::Role role) {
  switch (role) {
    case config::Role::Init: return Role::Init;
    case config::Role::Adapter: return Role::Adapter;
    case config::Role::Ambassador: return Role::Ambassador;
    case config::Role::Sidecar: return Role::Sidecar;
    case config::Role::App: return Role::App;
  }
  return Role::App;
}

RestartPolicy plan_restart(config::RestartPolicy policy) {
  switch (policy) {
    case config::RestartPolicy::Always: return RestartPolicy::Always;
    case config::RestartPolicy::OnFailure: return RestartPolicy::OnFailure;
    case config::RestartPolicy::Never: return RestartPolicy::Never;
  }
  return RestartPolicy::Always;
}

OnGiveUp plan_give_up(config::GiveUp give_up) {
  switch (give_up) {
    case config::GiveUp::Hold: return OnGiveUp::Hold;
    case config::GiveUp::StopService: return OnGiveUp::StopService;
    case config::GiveUp::Exit: return OnGiveUp::Exit;
  }
  return OnGiveUp::Hold;
}

ExitAction plan_exit_action(config::ExitAction action) {
  switch (action) {
    case config::ExitAction::Restart: return ExitAction::Restart;
    case config::ExitAction::RestartAll: return ExitAction::RestartAll;
    case config::ExitAction::Stop: return ExitAction::Stop;
    case config::ExitAction::Hold: return ExitAction::Hold;
  }
  return ExitAction::Restart;
}

Gate plan_gate(const config::Child& child) {
  if (child.role == config::Role::Init) return Gate::None;
  // Our own components always say when they are ready.
  if (child.use || child.gate.notify) return Gate::Notify;
  if (child.gate.notification_fd) return Gate::NotificationFd;
  if (child.startup_probe) return Gate::StartupProbe;
  if (child.gate.log_line) return Gate::LogLine;
  if (child.gate.file) return Gate::File;
  return Gate::None;
}

std::optional<ProbePlan> plan_probe(const std::optional<config::Probe>& probe) {
  if (!probe) return {};
  ProbePlan plan;
  plan.initial_delay = probe->initial_delay;
  plan.period = probe->period;
  plan.timeout = probe->timeout;
  plan.success_threshold = std::max(1u, probe->success_threshold);
  plan.failure_threshold = std::max(1u, probe->failure_threshold);
  plan.termination_grace = probe->termination_grace;
  return plan;
}

std::optional<HookPlan> plan_hook(const std::optional<config::Hook>& hook) {
  if (!hook) return {};
  HookPlan plan;
  plan.timeout = hook->timeout;
  if (hook->sleep) plan.timeout = std::max<Duration>(plan.timeout, *hook->sleep);
  return plan;
}

ChildPlan plan_child(const config::Child& child) {
  ChildPlan plan;
  plan.name = child.name;
  plan.role = plan_role(child.role);
  plan.is_proxy = child.use == config::Component::Proxy;
  plan.gate = plan_gate(child);
  plan.start_timeout = child.start_timeout;
  if (child.watchdog && child.watchdog->count() > 0) plan.watchdog = *child.watchdog;
  plan.startup_probe = plan_probe(child.startup_probe);
  plan.readiness_probe = plan_probe(child.readiness_probe);
  plan.liveness_probe = plan_probe(child.liveness_probe);
  plan.post_start = plan_hook(child.post_start);
  plan.pre_stop = plan_hook(child.pre_stop);
  plan.stop_signal = child.stop_signal.number;
  plan.restart = plan_restart(child.restart);
  plan.backoff = {child.backoff.base, child.backoff.max, child.backoff.jitter,
                  child.backoff.reset_after};
  plan.max_restarts = child.max_restarts;
  plan.restart_window = child.restart_window;
  plan.on_give_up = plan_give_up(child.on_give_up);
  plan.success_exit_codes = child.success_exit_codes;
  for (const auto& [code, action] : child.exit_actions) {
    plan.exit_actions[code] = plan_exit_action(action);
  }
  return plan;
}

}  // namespace

ServicePlan make_plan(const config::Service& service) {
  ServicePlan plan;
  plan.name = service.name();
  plan.stop_grace = service.settings.stop_grace;
  plan.drain_delay = service.settings.drain_delay;
  plan.sidecar_reserve = service.settings.sidecar_reserve;
  plan.has_capture = service.network.intercept.inbound || service.network.intercept.outbound ||
                     service.network.intercept.dns;
  for (const config::Child& child : service.children) plan.children.push_back(plan_child(child));
  const auto dependencies = config::start_dependencies(service);
  for (ChildId id = 0; id < plan.children.size(); ++id) {
    plan.children[id].dependencies = dependencies[id];
    for (const std::string& name : service.children[id].after) {
      for (const ChildId other : dependencies[id]) {
        if (service.children[other].name == name) plan.children[id].after.push_back(other);
      }
    }
  }
  return plan;
}

}  // namespace pillion::supervisor::core
