// The start of a service: whose turn it is, when traffic is captured, what a child's rest means for
// the whole, and when the whole is ready.
#include <fmt/format.h>

#include <algorithm>

#include "supervisor/core/service_run.h"

namespace pillion::supervisor::core {

const Child* ServiceRun::choose_blocker(const Child& child) const {
  for (const ChildId id : child.plan().dependencies) {
    const Child& dependency = children_[id];
    if (dependency.plan().role == Role::Init) {
      if (dependency.state() != ChildState::Completed) return &dependency;
      continue;
    }
    if (dependency.state() == ChildState::Running) continue;
    if (dependency.has_started_once()) {
      if (dependency.state() == ChildState::Completed) continue;
      // A gate is passed once: a restart waits only for what the child cannot do without, and not
      // for what has given up.
      const auto& after = child.plan().after;
      const bool is_vital = dependency.plan().role == Role::Sidecar ||
                            std::find(after.begin(), after.end(), id) != after.end();
      if (!child.starts_afresh() && (!is_vital || dependency.state() == ChildState::Failed)) {
        continue;
      }
    }
    return &dependency;
  }
  return nullptr;
}

bool ServiceRun::settle_starts(Turn& turn) {
  bool is_changed = false;
  for (Child& child : children_) {
    if (child.state() != ChildState::Waiting || child.desired() == Desired::Down) continue;
    if (child.is_vacant() || child.has_stranger() || choose_blocker(child)) continue;
    if (child.plan().role == Role::App && plan_.has_capture && capture_ != Capture::Live) continue;
    // Two slots of one name, in a deploy, share one count.
    for (const Child& other : children_) {
      if (other.plan().name == child.plan().name) child.raise_generation(other.generation());
    }
    is_changed |= child.transition(ChildEvent::Start, turn);
  }
  return is_changed;
}

bool ServiceRun::settle_capture(Turn& turn) {
  if (!plan_.has_capture || capture_ != Capture::Off) return false;
  for (const Child& child : children_) {
    if (child.plan().role != Role::App || child.state() != ChildState::Waiting) continue;
    if (choose_blocker(child)) continue;
    capture_ = Capture::Requested;
    turn.actions.push_back(EnableCapture{});
    return true;
  }
  return false;
}

// The app's start and end, and children that came to rest for good.
bool ServiceRun::settle_outcomes(Turn& turn) {
  for (const Child& child : children_) {
    if (!child.is_member()) continue;
    const bool is_app_up = child.plan().role == Role::App && child.state() == ChildState::Running;
    if (is_app_up && !has_app_started_) {
      has_app_started_ = true;
      turn.report(EventKind::ServiceRunning, Report::Level::Debug, "the app has started");
      return transition(ServiceEvent::AppStarted, turn);
    }
    const bool has_ended =
        child.state() == ChildState::Failed || child.state() == ChildState::Completed;
    if (has_ended && settle_outcome(child, turn)) return true;
  }
  return false;
}

bool ServiceRun::settle_outcome(const Child& child, Turn& turn) {
  const RestReason reason = child.rest_reason();
  const bool is_required = child.plan().role == Role::App || child.plan().role == Role::Init;
  // A helper's code is never the service's.
  const int own_code = child.final_exit_code().value_or(70);
  const int code = is_required || own_code == 0 ? own_code : 70;
  const std::string what = fmt::format("{}: {}", child.plan().name, child.why(turn.now));
  if (reason == RestReason::CannotStart) {
    request_stop(turn, plan_.stop_grace, what, own_code);
    return true;
  }
  if (reason == RestReason::ExitStop) {
    request_stop(turn, plan_.stop_grace, what, code);
    return true;
  }
  if (reason == RestReason::PolicyForbids && is_required) {
    const bool is_app = child.plan().role == Role::App;
    request_stop(turn, plan_.stop_grace,
                 is_app && child.last_exit()
                     ? fmt::format("{} {}", child.plan().name, child.last_exit()->describe())
                     : what,
                 code);
    return true;
  }
  if (reason == RestReason::GaveUp && child.plan().on_give_up != OnGiveUp::Hold) {
    request_stop(turn, plan_.stop_grace, what, is_required && code != 0 ? code : 70);
    return true;
  }
  return false;
}

// An exit action asked for a restart of the whole, after the delay that its child has earned.
bool ServiceRun::settle_restart_all(Turn& turn) {
  for (Child& child : children_) {
    const auto delay = child.take_restart_all();
    if (!delay) continue;
    request_restart(turn, fmt::format("{} asked for a restart of all", child.plan().name), *delay,
                    true);
    return true;
  }
  return false;
}

bool ServiceRun::is_ready() const {
  if (state_ != ServiceState::Running) return false;
  return std::all_of(children_.begin(), children_.end(), [](const Child& child) {
    return !child.is_member() || child.plan().role == Role::Init || child.is_ready() ||
           (child.is_helper() && child.state() == ChildState::Completed);
  });
}

void ServiceRun::settle_readiness(Turn& turn) {
  const bool is_ready_now = is_ready();
  if (is_ready_now == is_ready_published_) return;
  is_ready_published_ = is_ready_now;
  turn.actions.push_back(PublishReadiness{is_ready_now});
  if (is_ready_now) {
    turn.report(EventKind::ServiceReady, Report::Level::Info, "ready");
  } else {
    const std::string reason = why(turn.now);
    turn.report(EventKind::ServiceNotReady, Report::Level::Info, "not ready: " + reason,
                {{"reason", reason}});
  }
}

}  // namespace pillion::supervisor::core
