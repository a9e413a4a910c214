#include "tests/sim/sim_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "tests/sim/trace.h"

namespace pillion::supervisor::core {

namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

}  // namespace

SimWorld::SimWorld(std::uint64_t seed, bool is_operated, bool is_verbose)
    : seed_(seed),
      is_verbose_(is_verbose),
      is_operated_(is_operated),
      random_(seed),
      wishes_(~seed) {
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
  if (is_operated_) {
    Entry wish;
    wish.happening = Happening::Operate;
    wish.at = now_ + seconds(wishes_.below(60));
    schedule(wish);
  }
  for (ChildId id = 0; id < plan_.children.size(); ++id) {
    if (plan_.children[id].role == Role::App) traffic_to_ = id;
  }
  run(core_->start(now_));
}

Duration SimWorld::between(Duration low, Duration high) {
  return low + Duration(static_cast<Duration::rep>(
                   random_.below(static_cast<std::uint64_t>((high - low).count()) + 1)));
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
    if (is_operated_ && odd_probability_ > 0 && wishes_.below(2000) == 0) {
      ++seen_["standstills"];
      const Duration stall = seconds(1 + wishes_.below(600));
      now_ += stall;
      stop_slack_ += stall;
    }
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
    case Happening::Operate: operate(); return;
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
  } else {
    note_wish(event);
  }
}

ChildStatus SimWorld::status_of(ChildId child) const {
  for (const ChildStatus& one : core_->status(now_).children) {
    if (one.id == child) return one;
  }
  return {};
}

// An init task that is being replaced or stopped by a wish may have ended well a moment ago; then
// the wish wins, and it runs again.
void SimWorld::note_wish(const Event& event) {
  const auto forget = [&](ChildId child) {
    if (child < is_init_done_.size() && status_of(child).state != ChildState::Completed) {
      may_run_again_.insert(child);
    }
  };
  if (const auto* restart = std::get_if<RestartRequested>(&event)) {
    forget(restart->child);
  } else if (const auto* stop = std::get_if<StopChildRequested>(&event)) {
    forget(stop->child);
  } else if (const auto* replan = std::get_if<Replan>(&event)) {
    for (ChildId child = 0; child < is_init_done_.size(); ++child) forget(child);
    wanted_ = replan->plan;
    occupied_before_.clear();
    for (const ChildStatus& one : core_->status(now_).children) occupied_before_.insert(one.id);
  } else if (const auto* deploy = std::get_if<DeployRequested>(&event)) {
    wanted_app_ = deploy->app;
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
  plan_ = core_->plan();
  has_started_.resize(plan_.children.size());
  is_init_done_.resize(plan_.children.size());
  const bool starts_again = std::any_of(actions.begin(), actions.end(), [](const Action& action) {
    const auto* report = std::get_if<Report>(&action);
    return report && report->kind == EventKind::ServiceStarting;
  });
  if (starts_again && count > 0) {
    // A restart of the whole: all that has been is forgotten.
    has_started_.assign(plan_.children.size(), false);
    is_init_done_.assign(plan_.children.size(), false);
    has_app_started_ = false;
    is_stop_forced_ = false;
  }
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
    core_.emplace(accepted_, random_.next());
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
        queue_[i].happening == Happening::RequestStop ||
        queue_[i].happening == Happening::Operate || queue_[i].at > now_) {
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
  ServicePlan known = accepted_;
  known.candidate = candidate_;
  core_.emplace(Core::restore(known, random_.next(), *written_, survivors, now_, boot_now));
  run(core_->start(now_));
}

}  // namespace pillion::supervisor::core
