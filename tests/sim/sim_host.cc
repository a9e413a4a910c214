// The host of a simulated world: what it does for each action, and what then happens to processes.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "tests/sim/sim_world.h"
#include "tests/sim/trace.h"

namespace pillion::supervisor::core {

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

}  // namespace

void SimWorld::carry_out_network(const Action& action, bool is_lost) {
  const auto soon = [&] { return between(Duration::zero(), seconds(1)); };
  if (std::holds_alternative<CreateNetwork>(action)) {
    is_network_up_ = true;
    if (chance(odd_probability_)) {
      deliver_later(NetworkFailed{"sim"}, soon(), true);
    } else {
      deliver_later(NetworkCreated{}, soon(), true);
    }
  } else if (std::holds_alternative<EnableCapture>(action)) {
    if (chance(odd_probability_)) {
      deliver_later(CaptureFailed{"sim"}, soon(), true);
    } else {
      is_capture_live_ = true;
      deliver_later(CaptureLive{}, soon(), true);
    }
  } else if (std::holds_alternative<RemoveNetwork>(action)) {
    if (is_lost) {
      stop_slack_ += seconds(31);
    } else {
      deliver_later(NetworkRemoved{}, soon(), true);
    }
    is_network_up_ = false;
  } else if (const auto* readiness = std::get_if<PublishReadiness>(&action)) {
    if (readiness->is_ready && is_stop_known_) fail("published as ready while stopping");
    if (readiness->is_ready && !has_app_started_) fail("published as ready before the app started");
  }
}

// Reloads and deploys.
void SimWorld::carry_out_change(const Action& action, bool is_lost) {
  if (std::holds_alternative<PlanChanged>(action)) {
    on_plan_changed();
  } else if (const auto* use = std::get_if<UsePlan>(&action)) {
    if (use->is_candidate) {
      candidate_ = wanted_app_;
      has_started_[use->child] = false;
    }
    // A gate that is taken away in place holds nobody any more.
    const ChildPlan& plan = plan_.children[use->child];
    for (auto& [key, process] : processes_) {
      if (key.first != use->child) continue;
      process.needs_gate = process.needs_gate && plan.gate != Gate::None;
      process.needs_hook = process.needs_hook && plan.post_start;
    }
  } else if (const auto* shift = std::get_if<ShiftTraffic>(&action)) {
    if (is_lost) return;
    if (chance(odd_probability_ * 3)) {
      deliver_later(ShiftFailed{shift->to, "sim"}, between(Duration::zero(), seconds(3)), true);
      return;
    }
    traffic_to_ = shift->to;
    deliver_later(TrafficShifted{shift->to}, between(Duration::zero(), seconds(3)), true);
  } else if (std::holds_alternative<PromoteApp>(action)) {
    for (ChildPlan& child : accepted_.children) {
      if (child.role != Role::App || !candidate_) continue;
      const auto dependencies = child.dependencies;
      child = *candidate_;
      child.dependencies = dependencies;
    }
  } else if (const auto* end = std::get_if<EndDeploy>(&action)) {
    candidate_.reset();
    // In a restart of the whole the proxy starts anew, and is told of the app that stays.
    for (const ChildStatus& child : core_->status(now_).children) {
      const bool is_app = child.role == Role::App && !child.is_leaving && !child.is_candidate;
      if (!has_app_started_ && is_app) traffic_to_ = child.id;
    }
    if (traffic_to_ == end->gone) fail("the traffic goes to an app that is gone");
    ++seen_[end->is_promoted ? "deploys done" : "deploys rolled back"];
    for (const auto& [key, process] : processes_) {
      if (key.first == end->gone && (process.is_main_alive || process.has_leftovers)) {
        fail(fmt::format("the deploy is over, but g{} still runs", key.second));
      }
    }
  }
}

// The file of the last reload is the accepted one; a slot that was nobody's has no past.
void SimWorld::on_plan_changed() {
  const auto role_in = [](const ServicePlan& plan, const std::string& name) -> std::optional<Role> {
    for (const ChildPlan& child : plan.children) {
      if (child.name == name) return child.role;
    }
    return {};
  };
  for (ChildId id = 0; id < plan_.children.size(); ++id) {
    const auto before = role_in(accepted_, name(id));
    if (before && before == role_in(wanted_, name(id))) continue;
    is_init_done_[id] = false;
    // One that was about to leave and is wanted again has its past still.
    has_started_[id] = occupied_before_.count(id) > 0;
  }
  accepted_ = wanted_;
}

void SimWorld::carry_out(const Action& action) {
  if (is_verbose_) {
    std::printf("%9.3f    %s%s\n", seconds_of(now_), action_name(action),
                std::visit([](const auto& order) { return whom(order); }, action).c_str());
  }
  ++seen_[action_name(action)];
  const bool is_lost = chance(odd_probability_ / 2);
  carry_out_network(action, is_lost);
  carry_out_change(action, is_lost);
  const auto* report = std::get_if<Report>(&action);
  if (report && report->kind == EventKind::ReloadApplied) is_reload_open_ = true;
  if (report && report->kind == EventKind::ReloadFinished) is_reload_open_ = false;
  if (report && report->kind == EventKind::ServiceStarting) is_reload_open_ = false;
  if (report && report->kind == EventKind::ChildUnhealthy) {
    for (auto& [key, process] : processes_) {
      const bool is_it = name(key.first) == report->child && key.second == report->generation;
      if (is_it) process.is_being_replaced = true;
    }
  } else if (std::holds_alternative<WriteState>(action)) {
    const Duration boot_now = now_.time_since_epoch() + boot_ahead_;
    written_ = core_->snapshot(now_, boot_now);
    written_stop_deadline_ = stop_deadline_;
    if (chance(0.01)) {
      const auto parsed = parse_snapshot(to_json(*written_));
      if (!parsed || to_json(*parsed) != to_json(*written_))
        fail("the state does not survive JSON");
    }
  } else if (const auto* spawn = std::get_if<Spawn>(&action)) {
    on_spawn(*spawn);
  } else if (const auto* gate = std::get_if<WatchGate>(&action)) {
    if (!is_lost && chance(0.95)) {
      deliver_later(GateSeen{gate->child, gate->generation}, between(Duration::zero(), seconds(8)),
                    true);
    }
  } else if (const auto* probe = std::get_if<RunProbe>(&action)) {
    on_probe(*probe);
  } else if (const auto* cancel = std::get_if<CancelProbe>(&action)) {
    probes_.erase({{cancel->child, cancel->generation}, cancel->kind});
  } else if (const auto* drain = std::get_if<BeginDrain>(&action)) {
    // Outside of a stop it drains because it is replaced, as with a hook.
    if (!is_stop_known_) processes_[{drain->child, drain->generation}].is_being_replaced = true;
  } else if (const auto* hook = std::get_if<RunHook>(&action)) {
    const bool is_to_end = hook->kind == HookKind::PreStop && !is_stop_known_;
    if (is_to_end) processes_[{hook->child, hook->generation}].is_being_replaced = true;
    if (is_lost) return;
    deliver_later(HookFinished{hook->child, hook->generation, hook->kind, chance(0.9), "sim"},
                  between(Duration::zero(), std::min<Duration>(hook->timeout, seconds(12))), true);
  } else if (const auto* signal = std::get_if<SendSignal>(&action)) {
    on_signal(*signal);
  } else if (const auto* kill_order = std::get_if<KillCgroup>(&action)) {
    check_order_of_end(kill_order->child, kill_order->generation, "killed");
    kill({kill_order->child, kill_order->generation});
  } else if (const auto* release = std::get_if<ReleaseGeneration>(&action)) {
    const auto found = processes_.find({release->child, release->generation});
    if (found == processes_.end()) return;
    if (found->second.is_main_alive && !found->second.is_unkillable) {
      fail(fmt::format("{} g{} is released but runs", name(release->child), release->generation));
    }
    found->second.is_released = true;
  } else if (const auto* finish = std::get_if<Finish>(&action)) {
    check_finish(*finish);
  }
}

void SimWorld::on_spawn(const Spawn& spawn) {
  check_start(spawn);
  const Key key{spawn.child, spawn.generation};
  const ChildPlan& plan = plan_.children[spawn.child];
  if (chance(odd_probability_)) {
    const bool is_permanent = chance(0.1);
    Process none;
    none.is_main_alive = false;
    processes_[key] = none;
    deliver_later(SpawnFailed{spawn.child, spawn.generation, is_permanent ? "exec" : "clone",
                              is_permanent ? ENOENT : EAGAIN, "sim"},
                  between(Duration::zero(), milliseconds(50)), true);
    return;
  }
  Process process;
  process.needs_gate = plan.gate != Gate::None;
  process.needs_hook = plan.post_start.has_value();
  process.leaves_others = chance(0.1);
  process.ignores_term = chance(0.1);
  process.is_unkillable = chance(odd_probability_ / 20);
  if (process.is_unkillable) stuck_slack_ = seconds(45);
  processes_[key] = process;
  if (plan.role == Role::App) has_app_started_ = true;
  deliver_later(Spawned{spawn.child, spawn.generation, static_cast<int>(100 + next_order_)},
                between(Duration::zero(), milliseconds(20)), true);
  if (plan.gate == Gate::Notify && plan.role != Role::Init && chance(0.97)) {
    deliver_later(Notified{spawn.child, spawn.generation, Notified::Kind::Ready, ""},
                  between(milliseconds(1), seconds(8)), false);
  }
  for (int beat = 1; plan.watchdog && beat <= 8; ++beat) {
    deliver_later(Notified{spawn.child, spawn.generation, Notified::Kind::Watchdog, ""},
                  *plan.watchdog / 2 * beat, true);
  }
  Entry exit;
  exit.happening = Happening::ProcessExit;
  exit.key = key;
  exit.status = {ExitStatus::Kind::Exited, static_cast<int>(random_.below(3)), false};
  if (plan.role == Role::Init) {
    exit.status.value = chance(0.7) ? 0 : 3;
    exit.at = now_ + between(milliseconds(1), seconds(10));
    schedule(exit);
  } else if (chance(0.5)) {
    if (chance(0.2)) exit.status = {ExitStatus::Kind::Signaled, 11, false};
    exit.at = now_ + (chance(0.3) ? between(Duration::zero(), seconds(2))
                                  : between(Duration::zero(), minutes(12)));
    schedule(exit);
  }
}

void SimWorld::on_probe(const RunProbe& probe) {
  const Key key{probe.child, probe.generation};
  if (probes_.count({key, probe.kind}) > 0) fail("two probes of one kind at once");
  probes_[{key, probe.kind}] = probe.sequence;
  if (chance(odd_probability_)) return;  // never answered
  const double luck = random_.unit();
  const ProbeResult result = luck < 0.85   ? ProbeResult::Success
                             : luck < 0.93 ? ProbeResult::Failure
                             : luck < 0.98 ? ProbeResult::Timeout
                                           : ProbeResult::ProberError;
  deliver_later(
      ProbeFinished{probe.child, probe.generation, probe.kind, probe.sequence, result, "sim"},
      result == ProbeResult::Timeout ? probe.timeout : between(Duration::zero(), probe.timeout),
      true);
}

void SimWorld::on_signal(const SendSignal& signal) {
  const Key key{signal.child, signal.generation};
  const auto found = processes_.find(key);
  if (found == processes_.end()) return;
  Process& process = found->second;
  Entry end;
  end.key = key;
  end.at = now_ + between(Duration::zero(), chance(0.8) ? milliseconds(100) : seconds(5));
  if (signal.target == SignalTarget::Leftovers) {
    end.happening = Happening::LeftoversExit;
    if (process.has_leftovers && chance(0.7)) schedule(end);
    return;
  }
  check_order_of_end(signal.child, signal.generation, "signalled");
  if (process.ignores_term || !process.is_main_alive) return;
  end.happening = Happening::ProcessExit;
  end.status = chance(0.5) ? ExitStatus{ExitStatus::Kind::Exited, 0, false}
                           : ExitStatus{ExitStatus::Kind::Signaled, 15, false};
  schedule(end);
}

void SimWorld::kill(Key key) {
  const auto found = processes_.find(key);
  if (found == processes_.end()) return;
  Entry end;
  end.key = key;
  end.at = now_ + (found->second.is_unkillable ? between(seconds(5), seconds(60))
                                               : between(Duration::zero(), milliseconds(50)));
  if (found->second.is_main_alive) {
    found->second.leaves_others = false;
    end.happening = Happening::ProcessExit;
    end.status = {ExitStatus::Kind::Signaled, 9, false};
    schedule(end);
  }
  if (found->second.has_leftovers) {
    end.happening = Happening::LeftoversExit;
    schedule(end);
  }
}

}  // namespace pillion::supervisor::core
