// A rolling replace of the app. The candidate is a slot of its own with the app's name, so that for
// this once two generations of it may run. Until the traffic has shifted, whatever goes wrong ends
// the candidate and leaves the current app as it was; from then on the candidate is the app.
#include <fmt/format.h>

#include <algorithm>

#include "supervisor/core/service_run.h"

namespace pillion::supervisor::core {

std::string ServiceRun::why_no_deploy(const DeployRequested& event) const {
  if (state_ != ServiceState::Running) {
    return fmt::format("the service is {}, not running", to_string(state_));
  }
  if (deploy_) return "another deploy is under way";
  if (is_reload_under_way_) return "a reload is under way";
  const Child& app = children_[app_slot()];
  if (event.app.role != Role::App || event.app.name != app.plan().name) {
    return "only the app can be deployed";
  }
  return {};
}

void ServiceRun::on_event(const DeployRequested& event, Turn& turn) {
  const std::string fault = why_no_deploy(event);
  if (!fault.empty()) return refuse(turn, "deploy", fault);
  const ChildId current = app_slot();
  const ChildPlan& old = children_[current].plan();
  // The slot that the last deploy has left, or a new one.
  ChildId slot = children_.size();
  for (const Child& child : children_) {
    if (child.is_vacant() && child.plan().name == old.name) slot = child.id();
  }
  ChildPlan plan = event.app;
  plan.dependencies = old.dependencies;
  plan.after = old.after;
  if (slot == children_.size()) {
    children_.emplace_back(slot, plan);
    children_.back().set_membership(Membership::Vacant);
  }
  turn.is_state_dirty = true;
  Deploy deploy;
  deploy.current = current;
  deploy.candidate = slot;
  deploy.deadline = turn.now + event.timeout;
  deploy.min_ready = event.min_ready;
  deploy_ = deploy;
  children_[slot].occupy(plan, Membership::Candidate, turn);
  refresh_plan();
  turn.report(EventKind::DeployStarted, Report::Level::Info,
              "deploy: the next generation of the app starts beside the present one");
}

void ServiceRun::on_event(const DeployCancelled&, Turn& turn) {
  const bool is_possible =
      deploy_ && !is_stopping(state_) &&
      (deploy_->phase == Deploy::Phase::Warming || deploy_->phase == Deploy::Phase::Shifting);
  if (!is_possible) return refuse(turn, "cancel the deploy", "none is under way, or too far");
  roll_back(turn, "cancelled");
}

void ServiceRun::on_event(const TrafficShifted& event, Turn& turn) {
  const bool is_back = deploy_ && deploy_->phase == Deploy::Phase::RollingBack &&
                       deploy_->current == event.to && deploy_->shift_back_at;
  if (is_back) {
    deploy_->shift_back_at.reset();
    turn.is_state_dirty = true;
  }
  const bool is_awaited = deploy_ && deploy_->phase == Deploy::Phase::Shifting &&
                          deploy_->candidate == event.to && !is_stopping(state_);
  if (!is_awaited) return;
  // From here on there is no way back but another deploy.
  deploy_->phase = Deploy::Phase::Retiring;
  turn.is_state_dirty = true;
  children_[deploy_->candidate].set_membership(Membership::Member);
  children_[deploy_->current].set_membership(Membership::Leaving);
  turn.actions.push_back(PromoteApp{deploy_->candidate});
  turn.report(EventKind::DeployShifted, Report::Level::Info,
              "deploy: new requests go to the next generation; the old one drains");
}

void ServiceRun::on_event(const ShiftFailed& event, Turn& turn) {
  const bool is_awaited = deploy_ && deploy_->phase == Deploy::Phase::Shifting &&
                          deploy_->candidate == event.to && !is_stopping(state_);
  if (is_awaited) roll_back(turn, "the traffic cannot be shifted: " + event.reason);
}

bool ServiceRun::roll_back(Turn& turn, const std::string& reason) {
  deploy_->phase = Deploy::Phase::RollingBack;
  deploy_->reason = reason;
  turn.is_state_dirty = true;
  // Requests may reach the candidate already: it serves until they go to the present one again.
  if (deploy_->has_asked_to_shift) deploy_->shift_back_at = turn.now;
  deploy_->deadline = turn.now + kShiftBackTimeout;
  turn.report(EventKind::DeployFailed, Report::Level::Error,
              "deploy: " + reason + "; the present generation stays", {{"reason", reason}});
  return true;
}

bool ServiceRun::settle_rolling_back(Turn& turn) {
  if (deploy_->shift_back_at && turn.now >= deploy_->deadline) {
    deploy_->shift_back_at.reset();
    turn.report(EventKind::DeployFailed, Report::Level::Error,
                "deploy: nobody has confirmed that the traffic is back at the present generation",
                {{"reason", deploy_->reason}});
  }
  if (deploy_->shift_back_at && turn.now >= *deploy_->shift_back_at) {
    deploy_->shift_back_at = turn.now + kShiftAgain;
    turn.actions.push_back(ShiftTraffic{deploy_->candidate, deploy_->current});
    return true;
  }
  if (deploy_->shift_back_at) return false;
  Child& candidate = children_[deploy_->candidate];
  if (candidate.desired() == Desired::Up && !is_at_rest(candidate.state())) {
    candidate.hold(turn, "the deploy is rolled back");
    return true;
  }
  return settle_last_of_deploy(deploy_->candidate, false, turn);
}

bool ServiceRun::settle_deploy(Turn& turn) {
  if (!deploy_) return false;
  switch (deploy_->phase) {
    case Deploy::Phase::Warming: return settle_warming(turn);
    case Deploy::Phase::Shifting: return settle_shifting(turn);
    case Deploy::Phase::Retiring: return settle_last_of_deploy(deploy_->current, true, turn);
    case Deploy::Phase::RollingBack: return settle_rolling_back(turn);
  }
  return false;
}

bool ServiceRun::settle_warming(Turn& turn) {
  const Child& candidate = children_[deploy_->candidate];
  const bool is_lost = is_at_rest(candidate.state()) || candidate.desired() == Desired::Down;
  if (is_lost) return roll_back(turn, "the next generation " + candidate.why(turn.now));
  if (turn.now >= deploy_->deadline) {
    const std::string reason = candidate.why(turn.now);
    return roll_back(turn, fmt::format("the next generation is not ready in time{}{}",
                                       reason.empty() ? "" : ": ", reason));
  }
  if (!candidate.is_ready()) {
    deploy_->ready_since.reset();
    return false;
  }
  if (!deploy_->ready_since) deploy_->ready_since = turn.now;
  if (turn.now < *deploy_->ready_since + deploy_->min_ready) return false;
  deploy_->phase = Deploy::Phase::Shifting;
  deploy_->has_asked_to_shift = true;
  deploy_->deadline = turn.now + kShiftTimeout;
  turn.is_state_dirty = true;
  turn.actions.push_back(ShiftTraffic{deploy_->current, deploy_->candidate});
  return true;
}

bool ServiceRun::settle_shifting(Turn& turn) {
  const Child& candidate = children_[deploy_->candidate];
  if (candidate.state() != ChildState::Running) {
    return roll_back(turn, "the next generation " + candidate.why(turn.now));
  }
  if (turn.now < deploy_->deadline) return false;
  return roll_back(turn, "the shift of the traffic was not confirmed in time");
}

// Retiring and RollingBack: over when the one that goes is gone.
bool ServiceRun::settle_last_of_deploy(ChildId leaving, bool is_promoted, Turn& turn) {
  Child& child = children_[leaving];
  if (!is_at_rest(child.state()) || child.state() == ChildState::Stuck) return false;
  child.set_membership(Membership::Vacant);
  turn.actions.push_back(EndDeploy{leaving, is_promoted});
  turn.is_state_dirty = true;
  deploy_.reset();
  if (is_promoted) {
    turn.report(EventKind::DeployFinished, Report::Level::Info,
                "deploy: the old generation is gone");
  }
  return true;
}

// After a restart of the supervisor: what was asked for may not have been heard.
void ServiceRun::resume_deploy(Turn& turn) {
  if (!deploy_ || is_stopping(state_)) return;
  switch (deploy_->phase) {
    case Deploy::Phase::Warming: break;
    case Deploy::Phase::Shifting:
      if (has_candidate_plan_) {
        turn.actions.push_back(ShiftTraffic{deploy_->current, deploy_->candidate});
      }
      break;
    case Deploy::Phase::Retiring: turn.actions.push_back(PromoteApp{deploy_->candidate}); return;
    case Deploy::Phase::RollingBack:
      if (deploy_->has_asked_to_shift) deploy_->shift_back_at = turn.now;
      return;
  }
  if (!has_candidate_plan_) roll_back(turn, "the supervisor started again without its plan");
}

std::optional<MonotonicTime> ServiceRun::deploy_wakeup() const {
  if (!deploy_) return {};
  if (deploy_->phase == Deploy::Phase::Shifting) return deploy_->deadline;
  if (deploy_->phase == Deploy::Phase::RollingBack && deploy_->shift_back_at) {
    return std::min(*deploy_->shift_back_at, deploy_->deadline);
  }
  if (deploy_->phase != Deploy::Phase::Warming) return {};
  if (!deploy_->ready_since) return deploy_->deadline;
  return std::min(deploy_->deadline, *deploy_->ready_since + deploy_->min_ready);
}

}  // namespace pillion::supervisor::core
