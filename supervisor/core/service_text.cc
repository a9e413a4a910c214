// What people read about a service.
#include <fmt/format.h>

#include <algorithm>

#include "supervisor/core/service_run.h"

namespace pillion::supervisor::core {

std::string ServiceRun::why(const Child& child, MonotonicTime now) const {
  if (child.state() != ChildState::Waiting || child.has_stranger()) return child.why(now);
  const Child* blocker = choose_blocker(child);
  // Follow the chain to the one that everybody waits for.
  for (std::size_t i = 0; blocker && i < children_.size(); ++i) {
    const Child* next_blocker =
        blocker->state() == ChildState::Waiting ? choose_blocker(*blocker) : nullptr;
    if (!next_blocker) break;
    blocker = next_blocker;
  }
  if (blocker) {
    const std::string reason = blocker->why(now);
    return fmt::format("waits for {}{}{}", blocker->plan().name, reason.empty() ? "" : ": ",
                       reason);
  }
  if (state_ == ServiceState::Preparing) return "waits for the network";
  if (child.plan().role == Role::App && plan_.has_capture && capture_ != Capture::Live) {
    return "waits until its traffic is captured";
  }
  return child.why(now);
}

std::string ServiceRun::why(MonotonicTime now) const {
  switch (state_) {
    case ServiceState::Preparing: return "the network is being made";
    case ServiceState::CleaningUp: return "the network is being removed";
    case ServiceState::Stopped: return stop_ ? stop_->reason : "";
    case ServiceState::Draining:
    case ServiceState::StoppingHelpers:
    case ServiceState::Killing: {
      std::string left;
      for (const Child& child : children_) {
        if (is_at_rest(child.state())) continue;
        left += (left.empty() ? "" : ", ") + child.plan().name;
      }
      return fmt::format("stopping ({}); still there: {}", stop_->reason,
                         left.empty() ? "nobody" : left);
    }
    case ServiceState::Starting:
    case ServiceState::Running: break;
  }
  // The app first: it is what the service is for.
  const Child* unready = nullptr;
  for (const Child& child : children_) {
    if (!child.is_member() || child.plan().role == Role::Init || child.is_ready()) continue;
    if (child.is_helper() && child.state() == ChildState::Completed) continue;
    if (!unready || child.plan().role == Role::App) unready = &child;
  }
  if (!unready) return {};
  const std::string reason = why(*unready, now);
  return reason.empty() ? fmt::format("{} is not ready", unready->plan().name)
                        : fmt::format("{} {}", unready->plan().name, reason);
}

ServiceStatus ServiceRun::status(MonotonicTime now) const {
  const MonotonicTime at = std::max(now, latest_);
  ServiceStatus status;
  status.name = plan_.name;
  status.state = state_;
  status.is_ready = is_ready();
  status.up_for = at - started_at_;
  const bool waits_to_restart = stop_ && stop_->restart_at && are_all_gone();
  if (stop_ && is_stopping(state_) && !waits_to_restart) {
    status.stop_deadline_in = std::max(stop_->deadline - at, Duration::zero());
  }
  status.why = why(at);
  for (const Child& child : children_) {
    if (child.is_vacant()) continue;
    status.children.push_back(child.status(at));
    status.children.back().why = why(child, at);
  }
  return status;
}

}  // namespace pillion::supervisor::core
