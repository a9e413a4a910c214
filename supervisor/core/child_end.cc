// What follows when nothing of a generation is left: start again now or later, or come to rest.
#include <fmt/format.h>

#include <algorithm>

#include "supervisor/core/backoff.h"
#include "supervisor/core/child.h"

namespace pillion::supervisor::core {

bool Child::is_success(const ExitStatus& status) const {
  const int code = status.exit_code();
  if (status.kind == ExitStatus::Kind::Exited && code == 0) return true;
  if (status.kind == ExitStatus::Kind::Unknown) return false;
  const auto& codes = plan_.success_exit_codes;
  return std::find(codes.begin(), codes.end(), static_cast<unsigned>(code)) != codes.end();
}

std::optional<int> Child::final_exit_code() const {
  if (cannot_start_code_) return cannot_start_code_;
  if (!last_exit_) return {};
  return is_success(*last_exit_) ? 0 : last_exit_->exit_code();
}

Duration Child::ran_for(MonotonicTime now) const {
  return facts_.exec_at ? now - *facts_.exec_at : Duration::zero();
}

std::string Child::describe_end() const {
  if (!facts_.replace_reason.empty()) return facts_.replace_reason;
  if (!facts_.spawn_error.empty()) return "cannot start: " + facts_.spawn_error;
  return facts_.exit ? facts_.exit->describe() : "ended";
}

bool Child::settle_end(Turn& turn) {
  const bool is_ending =
      state_ == ChildState::Ending || state_ == ChildState::Clearing || state_ == ChildState::Stuck;
  if (!is_ending || !facts_.is_main_gone || facts_.has_leftovers) return false;
  if (facts_.exit) last_exit_ = facts_.exit;
  cancel_pre_stop(turn);
  turn.actions.push_back(ReleaseGeneration{id_, generation_});
  return transition(choose_after_end(turn), turn);
}

ChildEvent Child::choose_after_end(Turn& turn) {
  if (desired_ == Desired::Down) return ChildEvent::Rest;
  if (membership_ == Membership::Candidate) {
    failure_reason_ = describe_end();
    return ChildEvent::GiveUp;
  }
  if (turn.is_service_stopping) {
    // A helper still serves the draining app: no backoff, but no busy loop either. One that has
    // never started has nobody to serve.
    if (!has_started_once_) return ChildEvent::Rest;
    ++restarts_;
    next_delay_ = kRestartFloor;
    return ran_for(turn.now) >= kRestartFloor ? ChildEvent::RestartNow : ChildEvent::RestartLater;
  }
  const bool is_good = facts_.exit && is_success(*facts_.exit) && facts_.replace_reason.empty();
  if (next_plan_) {
    const bool is_done = plan_.role == Role::Init && next_plan_->role == Role::Init && is_good;
    take_next_plan(turn);
    return is_done ? ChildEvent::Succeed : ChildEvent::RestartNow;
  }
  failure_reason_ = describe_end();
  if (facts_.spawn_exit_code != 0 && !turn.has_app_started) {
    cannot_start_code_ = facts_.spawn_exit_code;
    rest_reason_ = RestReason::CannotStart;
    return ChildEvent::GiveUp;
  }
  if (facts_.is_replaced_by_wish) return ChildEvent::RestartNow;

  if (const auto event = choose_by_exit_action(turn, is_good)) return *event;
  if (plan_.role == Role::Init && is_good) return ChildEvent::Succeed;
  const bool is_wanted_again = plan_.restart == RestartPolicy::Always ||
                               (plan_.restart == RestartPolicy::OnFailure && !is_good);
  if (is_wanted_again) return choose_restart(turn);
  rest_reason_ = RestReason::PolicyForbids;
  return is_good ? ChildEvent::Succeed : ChildEvent::GiveUp;
}

std::optional<ChildEvent> Child::choose_by_exit_action(Turn& turn, bool is_good) {
  if (!facts_.exit || !facts_.replace_reason.empty()) return {};
  const auto action = plan_.exit_actions.find(static_cast<unsigned>(facts_.exit->exit_code()));
  if (action == plan_.exit_actions.end()) return {};
  switch (action->second) {
    case ExitAction::Restart: return choose_restart(turn);
    case ExitAction::RestartAll: {
      const ChildEvent event = choose_restart(turn);
      if (event == ChildEvent::GiveUp) return event;
      wants_restart_all_ = true;  // the service starts it again, after its delay
      return ChildEvent::Rest;
    }
    case ExitAction::Stop: rest_reason_ = RestReason::ExitStop; break;
    case ExitAction::Hold: rest_reason_ = RestReason::Held; break;
  }
  return is_good ? ChildEvent::Succeed : ChildEvent::GiveUp;
}

ChildEvent Child::choose_restart(Turn& turn) {
  if (plan_.max_restarts) {
    std::erase_if(recent_restarts_,
                  [&](MonotonicTime at) { return at + plan_.restart_window <= turn.now; });
    if (recent_restarts_.size() >= *plan_.max_restarts) {
      rest_reason_ = RestReason::GaveUp;
      failure_reason_ =
          fmt::format("gave up after {} restarts: {}", recent_restarts_.size(), failure_reason_);
      return ChildEvent::GiveUp;
    }
    recent_restarts_.push_back(turn.now);
  }
  if (ran_for(turn.now) >= plan_.backoff.reset_after) failures_in_a_row_ = 0;
  next_delay_ = next_backoff(plan_.backoff, failures_in_a_row_, turn.random);
  ++failures_in_a_row_;
  ++restarts_;
  return next_delay_ == Duration::zero() ? ChildEvent::RestartNow : ChildEvent::RestartLater;
}

}  // namespace pillion::supervisor::core
