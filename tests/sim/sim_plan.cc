// The services of the simulated worlds, drawn at random: roles, gates, probes, policies; and the
// changes that an operator makes to them.
#include <fmt/format.h>

#include <algorithm>

#include "tests/sim/sim_world.h"

namespace pillion::supervisor::core {

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

}  // namespace

void SimWorld::make_plan() {
  plan_.name = "sim";
  plan_.has_network = chance(0.8);
  plan_.has_capture = plan_.has_network && chance(0.7);
  plan_.stop_grace = between(seconds(1), seconds(40));
  plan_.drain_delay = chance(0.5) ? between(seconds(0), seconds(6)) : Duration::zero();
  plan_.sidecar_reserve = chance(0.2) ? Duration::zero() : plan_.stop_grace / 5;
  const auto add = [&](Role role, int count) {
    for (int i = 0; i < count; ++i) {
      ChildPlan child;
      child.role = role;
      child.name = fmt::format("c{}", plan_.children.size());
      plan_.children.push_back(child);
    }
  };
  const auto up_to = [&](std::uint64_t bound) {
    return static_cast<int>(random_.below(bound + 1));
  };
  // The file's order is not the start order.
  if (chance(0.5)) add(Role::App, 1);
  add(Role::Sidecar, up_to(2));
  add(Role::Init, up_to(2));
  add(Role::Ambassador, up_to(1));
  add(Role::Adapter, up_to(2));
  if (std::none_of(plan_.children.begin(), plan_.children.end(),
                   [](const ChildPlan& child) { return child.role == Role::App; })) {
    add(Role::App, 1);
  }
  link(plan_);
  for (ChildPlan& child : plan_.children) draw_policies(child);
  next_name_ = plan_.children.size();
  accepted_ = plan_;
}

// Who waits for whom follows from the roles, and for init tasks from the order.
void SimWorld::link(ServicePlan& plan) {
  for (ChildId id = 0; id < plan.children.size(); ++id) {
    ChildPlan& child = plan.children[id];
    child.dependencies.clear();
    for (ChildId other = 0; other < plan.children.size(); ++other) {
      const Role role = plan.children[other].role;
      const bool is_earlier_init = role == Role::Init && child.role == Role::Init && other < id;
      if (role < child.role || is_earlier_init) child.dependencies.push_back(other);
    }
  }
}

void SimWorld::draw_policies(ChildPlan& child) {
  child.is_proxy = child.role == Role::Sidecar && chance(0.5);
  const auto probe = [&] {
    ProbePlan plan;
    plan.initial_delay = chance(0.3) ? between(seconds(0), seconds(5)) : Duration::zero();
    plan.period = between(milliseconds(500), seconds(20));
    plan.timeout = between(milliseconds(200), seconds(3));
    plan.failure_threshold = 1 + static_cast<unsigned>(random_.below(5));
    return plan;
  };
  if (chance(0.3)) child.pre_stop = HookPlan{between(seconds(1), seconds(20))};
  if (child.role == Role::Init) {
    child.restart = chance(0.2) ? RestartPolicy::Never : RestartPolicy::OnFailure;
    return;
  }
  child.gate = static_cast<Gate>(random_.below(6));
  if (child.gate == Gate::StartupProbe) child.startup_probe = probe();
  if (chance(0.2)) child.post_start = HookPlan{between(seconds(1), seconds(20))};
  if (chance(0.4)) child.readiness_probe = probe();
  if (chance(0.3)) child.liveness_probe = probe();
  if (chance(0.2)) child.watchdog = between(seconds(2), seconds(20));
  if (chance(0.3)) child.start_timeout = between(seconds(1), seconds(20));
  if (child.role == Role::App && chance(0.3))
    child.restart = static_cast<RestartPolicy>(random_.below(3));
  if (chance(0.2)) {
    child.max_restarts = 1 + static_cast<unsigned>(random_.below(5));
    child.on_give_up = static_cast<OnGiveUp>(random_.below(3));
  }
  if (chance(0.1)) child.exit_actions[1] = static_cast<ExitAction>(random_.below(4));
}

ChildPlan SimWorld::draw_child(std::string name, Role role) {
  ChildPlan child;
  child.name = std::move(name);
  child.role = role;
  draw_policies(child);
  return child;
}

// The accepted file, edited: children gone, changed in each way, new, or back again.
Replan SimWorld::draw_replan() {
  Replan replan{accepted_, {}};
  auto& children = replan.plan.children;
  if (chance(0.3)) replan.plan.stop_grace = between(seconds(1), seconds(40));
  std::erase_if(children,
                [&](const ChildPlan& child) { return child.role != Role::App && chance(0.15); });
  for (ChildPlan& child : children) {
    if (chance(0.6)) continue;
    const auto change = static_cast<ChildChange>(1 + random_.below(3));
    replan.changes[child.name] = change;
    if (change != ChildChange::Reload) child = draw_child(child.name, child.role);
  }
  if (chance(0.4)) {
    const bool is_old_name = chance(0.3);
    const std::string name =
        fmt::format("c{}", is_old_name ? random_.below(next_name_) : next_name_++);
    const bool is_free = std::none_of(children.begin(), children.end(),
                                      [&](const ChildPlan& one) { return one.name == name; });
    const auto role = static_cast<Role>(random_.below(4));
    if (is_free) children.push_back(draw_child(name, role));
  }
  link(replan.plan);
  if (chance(0.05)) children.push_back(children.front());  // cannot be
  return replan;
}

Event SimWorld::draw_wish() {
  const ChildId child = random_.below(plan_.children.size());
  const double luck = random_.unit();
  if (luck < 0.15) return RestartRequested{child};
  if (luck < 0.30) {
    return StopChildRequested{
        child, chance(0.3) ? std::optional(between(seconds(0), seconds(9))) : std::nullopt};
  }
  if (luck < 0.50) return StartChildRequested{child};
  if (luck < 0.55) return RetryRequested{child};
  if (luck < 0.60) return RestartServiceRequested{"sim"};
  if (luck < 0.78) return draw_replan();
  if (luck < 0.82) return DeployCancelled{};
  DeployRequested deploy;
  for (const ChildPlan& one : accepted_.children) {
    if (one.role == Role::App) deploy.app = draw_child(one.name, Role::App);
  }
  deploy.timeout = between(seconds(1), seconds(120));
  if (chance(0.3)) deploy.min_ready = between(seconds(0), seconds(20));
  return deploy;
}

// The operator's own dice are thrown with his own stream.
void SimWorld::operate() {
  Entry again;
  again.happening = Happening::Operate;
  std::swap(random_, wishes_);
  const Event wish = draw_wish();
  again.at = now_ + between(seconds(0), chance(0.3) ? seconds(2) : minutes(2));
  std::swap(random_, wishes_);
  schedule(again);
  deliver(wish);
}

}  // namespace pillion::supervisor::core
