// Turns of the core and everything up to the stop. One turn: take in one event, then settle, that
// is repeat the rules below until nothing changes; nothing recurses.
#include "supervisor/core/service_run.h"

#include <fmt/format.h>

#include <algorithm>

namespace pillion::supervisor::core {

namespace {

// Far above what a turn can need: every round changes a state, and states have an order.
constexpr int kRoundsMax = 100'000;

unsigned depth_of(const ServicePlan& plan, ChildId id, std::vector<unsigned>& known) {
  if (known[id] != 0) return known[id] - 1;
  unsigned depth = 0;
  for (const ChildId dependency : plan.children[id].dependencies) {
    if (plan.children[dependency].role == Role::Init) continue;
    depth = std::max(depth, depth_of(plan, dependency, known) + 1);
  }
  known[id] = depth + 1;
  return depth;
}

}  // namespace

ServiceRun::ServiceRun(ServicePlan plan, std::uint64_t seed)
    : plan_(std::move(plan)), random_(seed) {
  std::vector<unsigned> known(plan_.children.size(), 0);
  for (ChildId id = 0; id < plan_.children.size(); ++id) {
    children_.emplace_back(id, plan_.children[id]);
    depths_.push_back(depth_of(plan_, id, known));
  }
}

Turn ServiceRun::make_turn(MonotonicTime now) {
  latest_ = std::max(latest_, now);
  actions_.clear();
  is_state_dirty_ = false;
  return Turn{latest_,
              actions_,
              random_,
              is_state_dirty_,
              is_stopping(state_),
              has_app_started_,
              plan_.stop_grace,
              stop_ ? std::optional(stop_->deadline) : std::nullopt};
}

Actions ServiceRun::finish_turn() {
  if (is_state_dirty_ && !is_finished_) actions_.insert(actions_.begin(), WriteState{});
  return std::move(actions_);
}

Actions ServiceRun::start(MonotonicTime now) {
  Turn turn = make_turn(now);
  turn.is_state_dirty = true;
  if (!is_restored_) {
    started_at_ = turn.now;
    entered_state_at_ = turn.now;
  }
  if (state_ == ServiceState::Preparing) {
    if (plan_.has_network) {
      turn.actions.push_back(CreateNetwork{});
    } else {
      transition(ServiceEvent::Prepared, turn);
    }
  }
  if (is_restored_) {
    turn.report(EventKind::SupervisorRestarted, Report::Level::Debug,
                "a new supervisor has taken over");
    for (const PastGeneration& past : std::exchange(past_generations_, {})) {
      if (past.is_alive) turn.actions.push_back(KillCgroup{past.child, past.generation});
      turn.actions.push_back(ReleaseGeneration{past.child, past.generation});
    }
    for (Child& child : children_) child.resume(turn);
    if (state_ == ServiceState::Draining || state_ == ServiceState::StoppingHelpers) {
      // Hooks that were under way are run again: at least once, not exactly once.
      for (Child& child : children_) child.begin_stop(turn);
    }
    if (state_ == ServiceState::CleaningUp) turn.actions.push_back(RemoveNetwork{});
    if (state_ == ServiceState::Stopped) finish(turn);
    turn.actions.push_back(PublishReadiness{is_ready_published_ = is_ready()});
  }
  settle(turn);
  return finish_turn();
}

Actions ServiceRun::handle(const Event& event, MonotonicTime now) {
  if (is_finished_) return {};
  Turn turn = make_turn(now);
  std::visit(
      [&](const auto& fact) {
        using Fact = std::decay_t<decltype(fact)>;
        if constexpr (std::is_same_v<Fact, NetworkCreated>) {
          transition(ServiceEvent::Prepared, turn);
        } else if constexpr (std::is_same_v<Fact, NetworkFailed>) {
          if (is_stopping(state_) || state_ == ServiceState::Running) return;
          turn.report(EventKind::SetupFailed, Report::Level::Error,
                      "cannot set up the service: " + fact.reason, {{"reason", fact.reason}});
          request_stop(turn, plan_.stop_grace, "set-up failed: " + fact.reason, 71);
        } else if constexpr (std::is_same_v<Fact, NetworkRemoved>) {
          transition(ServiceEvent::CleanedUp, turn);
        } else if constexpr (std::is_same_v<Fact, CaptureLive>) {
          if (capture_ != Capture::Requested) return;
          capture_ = Capture::Live;
          turn.is_state_dirty = true;
        } else if constexpr (std::is_same_v<Fact, CaptureFailed>) {
          if (capture_ != Capture::Requested || is_stopping(state_)) return;
          capture_ = Capture::Off;
          turn.report(EventKind::SetupFailed, Report::Level::Error,
                      "cannot capture traffic: " + fact.reason, {{"reason", fact.reason}});
          request_stop(turn, plan_.stop_grace, "capture failed: " + fact.reason, 71);
        } else if constexpr (std::is_same_v<Fact, StopRequested>) {
          on_stop_request(fact, turn);
        } else if constexpr (std::is_same_v<Fact, RestartServiceRequested> ||
                             std::is_same_v<Fact, Replan> ||
                             std::is_same_v<Fact, DeployRequested> ||
                             std::is_same_v<Fact, DeployCancelled> ||
                             std::is_same_v<Fact, TrafficShifted> ||
                             std::is_same_v<Fact, ShiftFailed>) {
          turn.report(EventKind::RequestRefused, Report::Level::Warning, "not available yet");
        } else {
          if (fact.child < children_.size()) children_[fact.child].on_event(fact, turn);
        }
      },
      event);
  settle(turn);
  return finish_turn();
}

Actions ServiceRun::advance(MonotonicTime now) {
  if (is_finished_) return {};
  Turn turn = make_turn(now);
  settle(turn);
  return finish_turn();
}

bool ServiceRun::transition(ServiceEvent event, Turn& turn) {
  const ServiceRow* row = next(state_, event);
  if (!row) return false;
  if (state_ != row->to) entered_state_at_ = turn.now;
  state_ = row->to;
  turn.is_state_dirty = true;
  turn.is_service_stopping = is_stopping(state_);
  perform(row->effect, turn);
  return true;
}

void ServiceRun::perform(ServiceEffect effect, Turn& turn) {
  switch (effect) {
    case ServiceEffect::None: return;
    case ServiceEffect::StartChildren:
      turn.report(EventKind::ServiceStarting, Report::Level::Debug, "starting the children");
      return;
    case ServiceEffect::BeginStop: begin_stop(turn); return;
    case ServiceEffect::SkipDelays: stop_->are_delays_skipped = true; return;
    case ServiceEffect::StopHelpers: stop_->app_gone_at = turn.now; return;
    case ServiceEffect::Overrun: overrun(turn); return;
    case ServiceEffect::KillChildren: kill_children(turn); return;
    case ServiceEffect::CleanUp:
      stop_->all_gone_at = turn.now;
      // A service that never got as far as a network may still have a part of one.
      if (plan_.has_network) turn.actions.push_back(RemoveNetwork{});
      return;
    case ServiceEffect::Finish: finish(turn); return;
  }
}

void ServiceRun::settle(Turn& turn) {
  for (int round = 0; settle_once(turn); ++round) PILLION_ASSERT(round < kRoundsMax);
  if (!is_finished_) settle_readiness(turn);
}

bool ServiceRun::settle_once(Turn& turn) {
  turn.is_service_stopping = is_stopping(state_);
  turn.has_app_started = has_app_started_;
  if (stop_) turn.stop_deadline = stop_->deadline;
  bool is_changed = false;
  for (Child& child : children_) is_changed |= child.settle(turn);
  switch (state_) {
    case ServiceState::Preparing: return is_changed;
    case ServiceState::Starting:
    case ServiceState::Running:
      return settle_outcomes(turn) || settle_restart_all(turn) || settle_capture(turn) ||
             settle_starts(turn) || is_changed;
    case ServiceState::Draining: return settle_draining(turn) || is_changed;
    case ServiceState::StoppingHelpers: return settle_helpers(turn) || is_changed;
    case ServiceState::Killing:
      return (are_all_gone() && transition(ServiceEvent::AllGone, turn)) || is_changed;
    case ServiceState::CleaningUp:
      if (!plan_.has_network || turn.now >= entered_state_at_ + kCleanUpTimeout) {
        return transition(ServiceEvent::CleanedUp, turn);
      }
      return is_changed;
    case ServiceState::Stopped: return false;
  }
  return false;
}

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
      if (child.has_started_once() && (!is_vital || dependency.state() == ChildState::Failed)) {
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
    if (child.has_stranger() || choose_blocker(child)) continue;
    if (child.plan().role == Role::App && plan_.has_capture && capture_ != Capture::Live) continue;
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
    const ChildState state = child.state();
    if (child.plan().role == Role::App && state == ChildState::Running && !has_app_started_) {
      has_app_started_ = true;
      turn.report(EventKind::ServiceRunning, Report::Level::Debug, "the app has started");
      return transition(ServiceEvent::AppStarted, turn);
    }
    if (state != ChildState::Failed && state != ChildState::Completed) continue;
    const RestReason reason = child.rest_reason();
    const int code = child.final_exit_code().value_or(70);
    const std::string what = fmt::format("{}: {}", child.plan().name, child.why(turn.now));
    if (reason == RestReason::CannotStart || reason == RestReason::ExitStop) {
      request_stop(turn, plan_.stop_grace, what, code);
      return true;
    }
    const bool is_required = child.plan().role == Role::App || child.plan().role == Role::Init;
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
  }
  return false;
}

bool ServiceRun::settle_restart_all(Turn& turn) {
  bool is_changed = false;
  for (Child& child : children_) {
    if (!child.take_restart_all()) continue;
    is_changed = true;
    for (Child& other : children_) {
      if (&other == &child || other.plan().role == Role::Init) continue;
      other.replace(turn, fmt::format("{} asked for a restart of all", child.plan().name), false);
    }
  }
  return is_changed;
}

bool ServiceRun::is_ready() const {
  if (state_ != ServiceState::Running) return false;
  return std::all_of(children_.begin(), children_.end(), [](const Child& child) {
    return child.plan().role == Role::Init || child.is_ready() ||
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

std::optional<MonotonicTime> ServiceRun::next_wakeup() const {
  if (is_finished_) return {};
  std::optional<MonotonicTime> earliest;
  const auto consider = [&](std::optional<MonotonicTime> time) {
    if (time && (!earliest || *time < *earliest)) earliest = time;
  };
  for (const Child& child : children_) consider(child.next_wakeup());
  if (state_ == ServiceState::CleaningUp) consider(entered_state_at_ + kCleanUpTimeout);
  if (state_ != ServiceState::Draining && state_ != ServiceState::StoppingHelpers) return earliest;
  consider(stop_->deadline);
  if (state_ == ServiceState::Draining && app_stop_at() > latest_) consider(app_stop_at());
  for (const Child& child : children_) {
    if (child.is_unsignalled() && cutoff(child) > latest_) consider(cutoff(child));
  }
  return earliest;
}

}  // namespace pillion::supervisor::core
