#include "tests/sim/sim_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace pillion::supervisor::core {

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

double seconds_of(MonotonicTime time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count() - 3600;
}

const char* action_name(const Action& action) {
  constexpr const char* names[] = {
      "CreateNetwork", "EnableCapture", "RemoveNetwork", "WriteState",        "Spawn",
      "WatchGate",     "RunProbe",      "CancelProbe",   "RunHook",           "CancelHook",
      "BeginDrain",    "SendSignal",    "KillCgroup",    "ReleaseGeneration", "PublishReadiness",
      "Report",        "Finish",        "PlanChanged",   "ReloadChild",       "ShiftTraffic",
      "PromoteApp",    "EndDeploy"};
  return names[action.index()];
}

const char* event_name(const Event& event) {
  constexpr const char* names[] = {"NetworkCreated",
                                   "NetworkFailed",
                                   "NetworkRemoved",
                                   "CaptureLive",
                                   "CaptureFailed",
                                   "Spawned",
                                   "SpawnFailed",
                                   "Exited",
                                   "CgroupEmpty",
                                   "Notified",
                                   "GateSeen",
                                   "ProbeFinished",
                                   "HookFinished",
                                   "StopRequested",
                                   "RestartRequested",
                                   "RetryRequested",
                                   "StopChildRequested",
                                   "StartChildRequested",
                                   "RestartServiceRequested",
                                   "Replan",
                                   "DeployRequested",
                                   "DeployCancelled",
                                   "TrafficShifted",
                                   "ShiftFailed"};
  return names[event.index()];
}

template<class T>
std::string whom(const T& item) {
  std::string text;
  if constexpr (requires { item.child; }) text += fmt::format(" child {}", item.child);
  if constexpr (requires { item.generation; }) text += fmt::format(" g{}", item.generation);
  if constexpr (requires { item.text; }) text += " " + item.text;
  return text;
}

}  // namespace

SimWorld::SimWorld(std::uint64_t seed, bool is_verbose)
    : seed_(seed), is_verbose_(is_verbose), random_(seed) {
  make_plan();
  has_started_.resize(plan_.children.size());
  is_init_done_.resize(plan_.children.size());
  // A third of the worlds is calm, a third odd, a third odd with a supervisor that crashes.
  const auto mood = random_.below(3);
  odd_probability_ = mood == 0 ? 0.0 : 0.03;
  crash_probability_ = mood == 2 ? 0.01 : 0.0;
  core_.emplace(plan_, random_.next());
  Entry stop;
  stop.happening = Happening::RequestStop;
  stop.at = now_ + between(seconds(0), chance(0.3) ? seconds(5) : minutes(15));
  schedule(stop);
  run(core_->start(now_));
}

Duration SimWorld::between(Duration low, Duration high) {
  return low + Duration(static_cast<Duration::rep>(
                   random_.below(static_cast<std::uint64_t>((high - low).count()) + 1)));
}

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
  for (ChildId id = 0; id < plan_.children.size(); ++id) {
    ChildPlan& child = plan_.children[id];
    for (ChildId other = 0; other < plan_.children.size(); ++other) {
      const Role role = plan_.children[other].role;
      const bool is_earlier_init = role == Role::Init && child.role == Role::Init && other < id;
      if (role < child.role || is_earlier_init) child.dependencies.push_back(other);
    }
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
      continue;
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
}

void SimWorld::fail(const std::string& what) {
  if (failure_.empty()) {
    failure_ =
        fmt::format("seed {} step {} at {:.3f} s: {}", seed_, steps_, seconds_of(now_), what);
  }
}

void SimWorld::schedule(Entry entry) {
  entry.order = next_order_++;
  queue_.push_back(std::move(entry));
  std::push_heap(queue_.begin(), queue_.end(),
                 [](const Entry& a, const Entry& b) { return b < a; });
}

void SimWorld::deliver_later(Event event, Duration delay, bool is_from_host_memory) {
  Entry entry;
  entry.at = now_ + delay;
  entry.event = std::move(event);
  entry.is_from_host_memory = is_from_host_memory;
  schedule(std::move(entry));
}

bool SimWorld::step() {
  if (is_finished_ || !failure_.empty()) return false;
  ++steps_;
  if (crash_probability_ > 0 && chance(crash_probability_)) {
    crash_supervisor();
    return failure_.empty() && !is_finished_;
  }
  if (odd_probability_ > 0 && chance(odd_probability_) && !past_.empty()) {
    // An old event once more, from whatever generation.
    ++seen_["repeated events"];
    const Event again = past_[random_.below(past_.size())];
    deliver(again);
    return failure_.empty() && !is_finished_;
  }
  const auto wakeup = core_->next_wakeup();
  const MonotonicTime before = now_;
  const bool is_timer_next = wakeup && (queue_.empty() || *wakeup <= queue_.front().at);
  if (is_timer_next) {
    now_ = std::max(now_, *wakeup);
    if (chance(odd_probability_)) now_ += between(Duration::zero(), milliseconds(200));  // late
    run(core_->advance(now_));
  } else if (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(),
                  [](const Entry& a, const Entry& b) { return b < a; });
    Entry entry = std::move(queue_.back());
    queue_.pop_back();
    now_ = std::max(now_, entry.at);
    happen(std::move(entry));
  } else {
    fail("nothing will ever happen again, and the service has not finished");
  }
  steps_without_time_ = now_ == before ? steps_without_time_ + 1 : 0;
  if (steps_without_time_ > 2000) fail("time stands still: the core spins");
  // Slack: the late timers, the host's pauses, one SIGTERM at the deadline, the kill's
  // confirmation.
  if (is_stop_known_ && now_ > stop_deadline_ + stop_slack_ + stuck_slack_ + seconds(6)) {
    fail("the stop has outlived its deadline");
  }
  return failure_.empty() && !is_finished_;
}

void SimWorld::happen(Entry entry) {
  switch (entry.happening) {
    case Happening::Deliver: deliver(entry.event); return;
    case Happening::ProcessExit: {
      if (!processes_[entry.key].is_main_alive) return;
      end_process(entry.key, entry.status);
      deliver_later(Exited{entry.key.first, entry.key.second, entry.status,
                           processes_[entry.key].has_leftovers},
                    between(Duration::zero(), milliseconds(30)), false);
      return;
    }
    case Happening::LeftoversExit: {
      Process& process = processes_[entry.key];
      if (!std::exchange(process.has_leftovers, false)) return;
      deliver_later(CgroupEmpty{entry.key.first, entry.key.second},
                    between(Duration::zero(), milliseconds(20)), false);
      return;
    }
    case Happening::RequestStop: request_stop(); return;
  }
}

void SimWorld::deliver(const Event& event) {
  if (is_verbose_) {
    std::printf("%9.3f  → %s%s\n", seconds_of(now_), event_name(event),
                std::visit([](const auto& fact) { return whom(fact); }, event).c_str());
  }
  note_delivery(event);
  if (past_.size() < 64) {
    past_.push_back(event);
  } else {
    past_[random_.below(past_.size())] = event;
  }
  run(core_->handle(event, now_));
}

// What the core is told from now on, it may rely on.
void SimWorld::note_delivery(const Event& event) {
  if (const auto* spawned = std::get_if<Spawned>(&event)) {
    processes_[{spawned->child, spawned->generation}].is_exec_known = true;
  } else if (const auto* exited = std::get_if<Exited>(&event)) {
    processes_[{exited->child, exited->generation}].is_exit_delivered = true;
  } else if (const auto* failed = std::get_if<SpawnFailed>(&event)) {
    processes_[{failed->child, failed->generation}].is_exit_delivered = true;
  } else if (const auto* seen = std::get_if<GateSeen>(&event)) {
    processes_[{seen->child, seen->generation}].is_gate_known = true;
  } else if (const auto* notified = std::get_if<Notified>(&event)) {
    if (notified->kind == Notified::Kind::Ready) {
      processes_[{notified->child, notified->generation}].is_gate_known = true;
    }
  } else if (const auto* probe = std::get_if<ProbeFinished>(&event)) {
    const Key key{probe->child, probe->generation};
    const auto outstanding = probes_.find({key, probe->kind});
    if (outstanding == probes_.end() || outstanding->second != probe->sequence) return;
    probes_.erase(outstanding);
    const bool is_gate = probe->kind == ProbeKind::Startup && probe->result == ProbeResult::Success;
    if (is_gate) processes_[key].is_gate_known = true;
  } else if (const auto* hook = std::get_if<HookFinished>(&event)) {
    if (hook->kind == HookKind::PostStart && hook->is_success) {
      processes_[{hook->child, hook->generation}].is_hook_known = true;
    }
  } else if (const auto* stop = std::get_if<StopRequested>(&event)) {
    // A later request without a grace of its own moves nothing.
    const MonotonicTime deadline = now_ + stop->grace.value_or(plan_.stop_grace);
    if (!is_stop_known_ || (stop->grace && deadline < stop_deadline_)) stop_deadline_ = deadline;
    is_stop_asked_for_ = true;
    if (stop->grace == Duration::zero()) is_stop_forced_ = true;
  }
}

void SimWorld::request_stop() {
  StopRequested stop{std::nullopt, chance(0.5), "sim"};
  if (chance(0.2)) stop.grace = chance(0.2) ? Duration::zero() : between(seconds(0), seconds(30));
  if (is_stop_known_ && stop.escalates) is_stop_forced_ = true;  // perhaps the third
  deliver(stop);
  if (is_finished_) return;
  // Once more, if it was lost with a supervisor; sometimes out of impatience.
  Entry again;
  again.happening = Happening::RequestStop;
  again.at = now_ + (chance(0.3) ? between(seconds(0), seconds(10)) : seconds(90));
  schedule(again);
}

void SimWorld::run(Actions actions) {
  const bool is_interrupted = crash_probability_ > 0 && chance(crash_probability_ / 2);
  const std::size_t count = is_interrupted ? random_.below(actions.size() + 1) : actions.size();
  const bool was_stopping = is_stop_known_;
  is_stop_known_ = core_->status(now_).stop_deadline_in.has_value();
  if (is_stop_known_ && !was_stopping) {
    // A stop of the core's own making has the whole grace.
    if (!is_stop_asked_for_) stop_deadline_ = now_ + plan_.stop_grace;
    stop_slack_ = Duration::zero();
  }
  is_stop_asked_for_ = false;
  for (std::size_t i = 0; i < count && failure_.empty(); ++i) carry_out(actions[i]);
  if (is_interrupted && !is_finished_ && failure_.empty()) {
    ++seen_["crashes between actions"];
    crash_supervisor();
  }
}

void SimWorld::carry_out(const Action& action) {
  if (is_verbose_) {
    std::printf("%9.3f    %s%s\n", seconds_of(now_), action_name(action),
                std::visit([](const auto& order) { return whom(order); }, action).c_str());
  }
  ++seen_[action_name(action)];
  const bool is_lost = chance(odd_probability_ / 2);
  if (std::holds_alternative<CreateNetwork>(action)) {
    is_network_up_ = true;
    if (chance(odd_probability_)) {
      deliver_later(NetworkFailed{"sim"}, between(Duration::zero(), seconds(1)), true);
    } else {
      deliver_later(NetworkCreated{}, between(Duration::zero(), seconds(1)), true);
    }
  } else if (std::holds_alternative<EnableCapture>(action)) {
    if (chance(odd_probability_)) {
      deliver_later(CaptureFailed{"sim"}, between(Duration::zero(), seconds(1)), true);
    } else {
      is_capture_live_ = true;
      deliver_later(CaptureLive{}, between(Duration::zero(), seconds(1)), true);
    }
  } else if (std::holds_alternative<RemoveNetwork>(action)) {
    if (is_lost) {
      stop_slack_ += seconds(31);
    } else {
      deliver_later(NetworkRemoved{}, between(Duration::zero(), seconds(1)), true);
    }
    is_network_up_ = false;
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
  } else if (const auto* hook = std::get_if<RunHook>(&action)) {
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
  } else if (const auto* readiness = std::get_if<PublishReadiness>(&action)) {
    if (readiness->is_ready && is_stop_known_) fail("published as ready while stopping");
    if (readiness->is_ready && !has_app_started_) fail("published as ready before the app started");
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

void SimWorld::end_process(Key key, ExitStatus status) {
  Process& process = processes_[key];
  if (!process.is_main_alive) return;
  process.is_main_alive = false;
  process.has_leftovers = process.leaves_others;
  process.exit = status;
  const bool is_success = status.kind == ExitStatus::Kind::Exited && status.value == 0;
  if (plan_.children[key.first].role == Role::Init && is_success && !process.is_being_replaced &&
      !is_stop_known_) {
    is_init_done_[key.first] = true;
  }
  if (is_verbose_) {
    std::printf("%9.3f  %s g%llu %s\n", seconds_of(now_), name(key.first).c_str(),
                static_cast<unsigned long long>(key.second), status.describe().c_str());
  }
}

void SimWorld::crash_supervisor() {
  if (!written_) {
    // Nothing was written, so nothing was done yet.
    core_.emplace(plan_, random_.next());
    run(core_->start(now_));
    return;
  }
  ++seen_["supervisor crashes"];
  if (is_verbose_) std::printf("%9.3f  *** supervisor crashes\n", seconds_of(now_));
  // What only the host remembered is gone; exits stay with the keeper, datagrams in their socket.
  std::erase_if(queue_, [](const Entry& entry) {
    return entry.happening == Happening::Deliver &&
           (entry.is_from_host_memory || std::holds_alternative<Exited>(entry.event) ||
            std::holds_alternative<CgroupEmpty>(entry.event));
  });
  std::make_heap(queue_.begin(), queue_.end(),
                 [](const Entry& a, const Entry& b) { return b < a; });
  probes_.clear();
  const Duration pause = between(Duration::zero(), seconds(3));
  now_ += pause;
  stop_slack_ += pause;
  const Duration suspended = chance(0.1) ? between(Duration::zero(), minutes(5)) : Duration::zero();
  boot_ahead_ += suspended;
  stop_slack_ += suspended;  // nobody acts in a suspended machine
  // A stop that was written goes on with the time that was left; another one is forgotten.
  is_stop_known_ = written_->stop.has_value();
  stop_deadline_ = written_stop_deadline_ - suspended;
  // Processes went on during the pause.
  for (std::size_t i = 0; i < queue_.size();) {
    if (queue_[i].happening == Happening::Deliver ||
        queue_[i].happening == Happening::RequestStop || queue_[i].at > now_) {
      ++i;
      continue;
    }
    const Entry entry = queue_[i];
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(i));
    if (entry.happening == Happening::LeftoversExit) {
      processes_[entry.key].has_leftovers = false;
    } else {
      end_process(entry.key, entry.status);
    }
  }
  std::make_heap(queue_.begin(), queue_.end(),
                 [](const Entry& a, const Entry& b) { return b < a; });
  std::vector<Survivor> survivors;
  for (auto& [key, process] : processes_) {
    if (process.is_released || (!process.is_main_alive && !process.exit)) continue;
    survivors.push_back({name(key.first), key.second, 100, process.exit, process.has_leftovers});
    process.is_exec_known = true;
    if (process.exit) process.is_exit_delivered = true;
  }
  const Duration boot_now = now_.time_since_epoch() + boot_ahead_;
  core_.emplace(Core::restore(plan_, random_.next(), *written_, survivors, now_, boot_now));
  run(core_->start(now_));
}

}  // namespace pillion::supervisor::core
