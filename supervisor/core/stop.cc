// The stop of a service, as one budget. T0 is the request, D = T0 + grace.
//
// T0: not ready, proxies drain, every pre_stop hook starts. After drain_delay and its own hook the
// app gets its stop signal. A helper's turn comes when what depended on it is gone and its own hook
// is done. The tail of the budget, sidecar_reserve, is shared evenly by the layers: a child with n
// of N layers of helpers to stop after it is killed at D − reserve·n/N, so that a hanging app
// cannot eat the proxy's time, nor a hanging proxy the log adapter's. At D: SIGTERM for who has not
// got it yet, two seconds, SIGKILL; SIGKILL for who has.
#include <fmt/format.h>

#include <algorithm>

#include "supervisor/core/service_run.h"

namespace pillion::supervisor::core {

void ServiceRun::on_event(const StopRequested& event, Turn& turn) {
  const std::string reason = event.reason.empty() ? "stop requested" : event.reason;
  if (!is_stopping(state_)) {
    request_stop(turn, event.grace.value_or(plan_.stop_grace), reason, std::nullopt);
    return;
  }
  if (!stop_) return;
  if (stop_->restart_at) return turn_restart_into_stop(event, turn);
  if (event.grace) shorten_stop(turn, *event.grace);
  if (!event.escalates) return;
  ++stop_->requests;
  turn.is_state_dirty = true;
  turn.report(EventKind::StopHurried, Report::Level::Warning,
              stop_->requests == 2 ? "asked to stop again: no more delays and hooks"
                                   : "asked to stop a third time: killing");
  transition(stop_->requests == 2 ? ServiceEvent::Hurry : ServiceEvent::Kill, turn);
}

void ServiceRun::request_stop(Turn& turn, Duration grace, std::string reason,
                              std::optional<int> forced_exit_code) {
  if (stop_) return;
  const auto grace_ms = std::chrono::duration_cast<std::chrono::milliseconds>(grace).count();
  turn.report(EventKind::ServiceStopping, Report::Level::Info, "stopping: " + reason,
              {{"reason", reason}, {"grace_ms", std::to_string(grace_ms)}});
  stop_ = Stop{};
  stop_->reason = std::move(reason);
  stop_->requested_at = turn.now;
  stop_->deadline = turn.now + std::max(grace, Duration::zero());
  stop_->forced_exit_code = forced_exit_code;
  turn.stop_deadline = stop_->deadline;
  transition(grace <= Duration::zero() ? ServiceEvent::Kill : ServiceEvent::Stop, turn);
}

void ServiceRun::on_event(const RestartServiceRequested& event, Turn& turn) {
  const bool is_up = state_ == ServiceState::Starting || state_ == ServiceState::Running;
  if (!is_up) return refuse(turn, "restart the service", "it is not running");
  request_restart(turn, event.reason.empty() ? "restart requested" : event.reason, Duration::zero(),
                  false);
}

// Down as in a stop, and up again when all are gone, `delay` from now at the earliest.
void ServiceRun::request_restart(Turn& turn, const std::string& reason, Duration delay,
                                 bool keeps_failures) {
  turn.report(EventKind::ServiceRestarting, Report::Level::Info, "restarting: " + reason,
              {{"reason", reason}});
  request_stop(turn, plan_.stop_grace, reason, std::nullopt);
  stop_->restart_at = turn.now + delay;
  stop_->keeps_failures = keeps_failures;
  turn.is_state_dirty = true;
}

void ServiceRun::turn_restart_into_stop(const StopRequested& event, Turn& turn) {
  stop_->restart_at.reset();
  stop_->reason = event.reason.empty() ? "stop requested" : event.reason;
  turn.is_state_dirty = true;
  turn.report(EventKind::ServiceStopping, Report::Level::Info,
              "stopping, and not starting again: " + stop_->reason, {{"reason", stop_->reason}});
  shorten_stop(turn, event.grace.value_or(plan_.stop_grace));
}

void ServiceRun::shorten_stop(Turn& turn, Duration grace) {
  const MonotonicTime deadline = turn.now + std::max(grace, Duration::zero());
  if (deadline >= stop_->deadline) return;
  stop_->deadline = deadline;
  turn.stop_deadline = deadline;
  turn.is_state_dirty = true;
  if (grace <= Duration::zero()) {
    transition(ServiceEvent::Kill, turn);
    return;
  }
  for (Child& child : children_) {
    if (child.state() == ChildState::Stopping) {
      child.transition(ChildEvent::StopTurn, turn, cutoff(child));
    }
  }
}

void ServiceRun::begin_stop(Turn& turn) {
  is_ready_published_ = false;
  turn.actions.push_back(PublishReadiness{false});
  for (Child& child : children_) {
    if (child.plan().is_proxy && child.state() == ChildState::Running) {
      turn.actions.push_back(BeginDrain{child.id(), child.generation()});
    }
  }
  for (Child& child : children_) {
    child.begin_stop(turn);
    // What has not started yet never will, and init tasks serve nobody.
    const bool is_pending = child.state() == ChildState::Waiting && !child.has_started_once();
    const bool is_app_without_process =
        child.plan().role == Role::App &&
        (child.state() == ChildState::Waiting || child.state() == ChildState::Backoff);
    if (is_pending || is_app_without_process || child.plan().role == Role::Init) {
      child.stop(turn, cutoff(child));
    }
  }
}

MonotonicTime ServiceRun::cutoff(const Child& child) const {
  unsigned layers = 0;
  for (const Child& other : children_) {
    if (other.plan().role == Role::App) layers = std::max(layers, depths_[other.id()]);
  }
  if (layers == 0 || child.plan().role == Role::Init) return stop_->deadline;
  const Duration reserve = std::min(plan_.sidecar_reserve, stop_->deadline - stop_->requested_at);
  const unsigned after = std::min(depths_[child.id()], layers);
  return stop_->deadline - reserve * after / layers;
}

MonotonicTime ServiceRun::app_stop_at() const {
  return stop_->are_delays_skipped ? stop_->requested_at : stop_->requested_at + plan_.drain_delay;
}

bool ServiceRun::is_app_gone() const {
  return std::all_of(children_.begin(), children_.end(), [](const Child& child) {
    return child.plan().role != Role::App || is_at_rest(child.state());
  });
}

bool ServiceRun::are_all_gone() const {
  return std::all_of(children_.begin(), children_.end(),
                     [](const Child& child) { return is_at_rest(child.state()); });
}

// By the plans of the running generations. The depths forbid circles; see depth_of().
bool ServiceRun::depends_on(const Child& child, const Child& on) const {
  const auto& dependencies = child.plan().dependencies;
  return depths_[child.id()] > depths_[on.id()] &&
         std::find(dependencies.begin(), dependencies.end(), on.id()) != dependencies.end();
}

bool ServiceRun::are_dependents_gone(const Child& child) const {
  return std::all_of(children_.begin(), children_.end(), [&](const Child& other) {
    return is_at_rest(other.state()) || !depends_on(other, child);
  });
}

bool ServiceRun::settle_draining(Turn& turn) {
  if (turn.now >= stop_->deadline) return transition(ServiceEvent::DeadlinePassed, turn);
  if (is_app_gone()) return transition(ServiceEvent::AppGone, turn);
  bool is_changed = false;
  for (Child& child : children_) {
    if (child.plan().role == Role::App) {
      is_changed |= settle_draining_app(child, turn);
      continue;
    }
    // Helpers serve the app until it is gone; a crashed one is started again at once.
    if (!child.is_helper() || child.desired() == Desired::Down || child.has_stranger()) continue;
    if (child.state() == ChildState::Waiting) {
      is_changed |= child.transition(ChildEvent::Start, turn);
    }
  }
  return is_changed;
}

bool ServiceRun::settle_draining_app(Child& child, Turn& turn) {
  const bool is_hook_over = !child.is_hook_running() || stop_->are_delays_skipped;
  if (turn.now >= cutoff(child) && next(child.state(), ChildEvent::Kill)) {
    child.kill(turn);
    return true;
  }
  if (child.is_unsignalled() && is_hook_over && turn.now >= app_stop_at()) {
    child.stop(turn, cutoff(child));
    stop_->app_signalled_at = turn.now;
    return true;
  }
  if (child.state() == ChildState::Waiting || child.state() == ChildState::Backoff) {
    child.stop(turn, cutoff(child));
    return true;
  }
  if (child.state() == ChildState::Stopping && !stop_->app_signalled_at) {
    // It was being replaced when the stop came.
    child.stop(turn, cutoff(child));
    stop_->app_signalled_at = turn.now;
    return true;
  }
  return false;
}

bool ServiceRun::settle_helpers(Turn& turn) {
  if (are_all_gone()) return settle_all_gone(turn);
  if (turn.now >= stop_->deadline) return transition(ServiceEvent::DeadlinePassed, turn);
  bool is_changed = false;
  for (Child& child : children_) {
    if (child.desired() == Desired::Down || is_at_rest(child.state())) continue;
    const bool is_hook_over =
        !child.is_hook_running() || stop_->are_delays_skipped || turn.now >= cutoff(child);
    if (are_dependents_gone(child) && is_hook_over) {
      child.stop(turn, std::max(cutoff(child), turn.now + kLeftoverGrace));
      is_changed = true;
    } else if (child.state() == ChildState::Waiting && !child.has_stranger()) {
      is_changed |= child.transition(ChildEvent::Start, turn);
    }
  }
  return is_changed;
}

bool ServiceRun::settle_all_gone(Turn& turn) {
  if (!stop_->restart_at) return transition(ServiceEvent::AllGone, turn);
  return turn.now >= *stop_->restart_at && transition(ServiceEvent::Rewind, turn);
}

// The past life is forgotten: init tasks run again, gates count again, what an operator had stopped
// comes back. What was leaving is gone.
void ServiceRun::rewind(Turn& turn) {
  const bool keeps_failures = stop_->keeps_failures;
  stop_.reset();
  turn.stop_deadline.reset();
  turn.has_app_started = has_app_started_ = false;
  is_reload_under_way_ = false;
  if (deploy_) {
    const bool is_promoted = deploy_->phase == Deploy::Phase::Retiring;
    const ChildId gone = is_promoted ? deploy_->current : deploy_->candidate;
    if (children_[gone].state() != ChildState::Stuck) {
      children_[gone].set_membership(Membership::Vacant);
      turn.actions.push_back(EndDeploy{gone, is_promoted});
      deploy_.reset();
    } else if (!is_promoted) {
      deploy_->phase = Deploy::Phase::RollingBack;
    }
  }
  for (Child& child : children_) {
    const bool is_gone =
        child.membership() == Membership::Leaving && child.state() != ChildState::Stuck;
    if (is_gone) child.set_membership(Membership::Vacant);
    if (child.is_member()) child.rewind(turn, keeps_failures);
  }
  refresh_plan();
  turn.report(EventKind::ServiceStarting, Report::Level::Info, "starting again");
}

void ServiceRun::overrun(Turn& turn) {
  turn.report(EventKind::StopOverrun, Report::Level::Warning,
              "the stop has used up its grace; ending what is left");
  for (Child& child : children_) {
    if (child.is_unsignalled()) {
      child.stop(turn, turn.now + kLeftoverGrace);
    } else {
      child.kill(turn);
    }
  }
}

void ServiceRun::kill_children(Turn& turn) {
  is_ready_published_ = false;
  turn.actions.push_back(PublishReadiness{false});
  for (Child& child : children_) child.kill(turn);
}

int ServiceRun::exit_code() const {
  if (stop_ && stop_->forced_exit_code) return *stop_->forced_exit_code;
  const Child& app = children_[app_slot()];
  return app.state() == ChildState::Stuck ? 137 : app.final_exit_code().value_or(0);
}

Receipt ServiceRun::make_receipt(MonotonicTime now) const {
  Receipt receipt;
  receipt.reason = stop_->reason;
  receipt.exit_code = exit_code();
  receipt.total = now - stop_->requested_at;
  MonotonicTime phase_start = stop_->requested_at;
  const auto add_phase = [&](const char* name, std::optional<MonotonicTime> end) {
    if (!end) return;
    receipt.phases.push_back({name, *end - phase_start});
    phase_start = *end;
  };
  add_phase("delay and hooks", stop_->app_signalled_at);
  add_phase("app", stop_->app_gone_at);
  add_phase("helpers", stop_->all_gone_at);
  add_phase("clean-up", now);
  for (const Child& child : children_) {
    if (child.is_vacant()) continue;
    if (child.state() == ChildState::Stuck) {
      receipt.stuck.push_back(child.plan().name);
    } else if (child.was_killed()) {
      receipt.killed.push_back(child.plan().name);
    }
    if (child.receipt().empty()) continue;
    receipt.counts_by_child[child.plan().name] = child.receipt();
    for (const auto& [key, count] : child.receipt()) receipt.counts[key] += count;
  }
  return receipt;
}

void ServiceRun::finish(Turn& turn) {
  is_finished_ = true;
  turn.actions.push_back(Finish{exit_code(), make_receipt(turn.now)});
}

}  // namespace pillion::supervisor::core
