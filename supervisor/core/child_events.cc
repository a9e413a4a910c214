// How a child takes in facts from outside. Facts are only noted here; settle() acts on them.
#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <string_view>

#include "supervisor/core/child.h"

namespace pillion::supervisor::core {

namespace {

// The exit code that says what was wrong, for an error that trying again cannot cure; else 0.
int permanent_spawn_exit_code(const SpawnFailed& event) {
  switch (event.errno_value) {
    case EAGAIN:
    case EINTR:
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case EBUSY:
    case ETXTBSY: return 0;
    default: break;
  }
  if (event.stage != "exec") return 71;
  return event.errno_value == ENOENT || event.errno_value == ENOTDIR ? 127 : 126;
}

// "requests_finished=12 requests_aborted=0"; what is not a number is skipped.
void parse_receipt(std::string_view text, std::map<std::string, std::int64_t>& receipt) {
  while (!text.empty()) {
    const std::size_t end = text.find(' ');
    const std::string_view field = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const std::size_t equals = field.find('=');
    if (equals == std::string_view::npos || equals == 0 || receipt.size() >= 64) continue;
    const std::string_view digits = field.substr(equals + 1);
    std::int64_t number = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) continue;
    receipt[std::string(field.substr(0, equals))] = number;
  }
}

ReportFields fields_of(const ExitStatus& status) {
  ReportFields fields{{"exit_code", std::to_string(status.exit_code())}};
  if (status.kind == ExitStatus::Kind::Signaled) fields["signal"] = std::to_string(status.value);
  if (status.is_oom_kill) fields["oom"] = "true";
  return fields;
}

}  // namespace

void Child::on_event(const Spawned& event, Turn& turn) {
  if (!is_current(event.generation) || facts_.is_main_gone || facts_.exec_at) return;
  facts_.pid = event.pid;
  facts_.exec_at = turn.now;
  turn.is_state_dirty = true;
  report(turn, EventKind::ChildExecuted, Report::Level::Debug,
         fmt::format("{} runs (generation {}, pid {})", plan_.name, generation_, event.pid),
         {{"pid", std::to_string(event.pid)}});
  transition(ChildEvent::ExecConfirmed, turn);
}

void Child::on_event(const SpawnFailed& event, Turn& turn) {
  if (!is_current(event.generation) || facts_.is_main_gone || facts_.exec_at) return;
  if (!next(state_, ChildEvent::SpawnError)) return;
  facts_.is_main_gone = true;
  facts_.spawn_error = event.reason;
  facts_.spawn_exit_code = permanent_spawn_exit_code(event);
  report(turn, EventKind::ChildStartFailed, Report::Level::Error,
         fmt::format("cannot start {}: {}", plan_.name, event.reason), {{"reason", event.reason}});
  transition(ChildEvent::SpawnError, turn);
}

void Child::on_event(const Exited& event, Turn& turn) {
  if (stranger_ && event.generation == *stranger_) {
    turn.actions.push_back(ReleaseGeneration{id_, *stranger_});
    stranger_.reset();
    turn.is_state_dirty = true;
    return;
  }
  if (!is_current(event.generation) || facts_.is_main_gone) return;
  facts_.is_main_gone = true;
  facts_.exit = event.status;
  facts_.has_leftovers = event.has_leftovers && !facts_.is_cgroup_empty;
  turn.is_state_dirty = true;
  // An end that we asked for is no news to worry about.
  const bool is_expected = is_success(event.status) || state_ == ChildState::Stopping;
  report(turn, EventKind::ChildExited, is_expected ? Report::Level::Info : Report::Level::Warning,
         fmt::format("{} {} (generation {})", plan_.name, event.status.explain(), generation_),
         fields_of(event.status));
  transition(ChildEvent::MainExited, turn);
}

void Child::on_event(const CgroupEmpty& event, Turn& turn) {
  if (!is_current(event.generation)) return;
  // May overtake the news of the exit; then it is kept in mind.
  facts_.is_cgroup_empty = true;
  if (!facts_.is_main_gone || !facts_.has_leftovers) return;
  facts_.has_leftovers = false;
  turn.is_state_dirty = true;
}

void Child::on_event(const Notified& event, Turn& turn) {
  if (!is_current(event.generation)) return;
  // A receipt may be read after the exit of its sender.
  if (event.kind == Notified::Kind::Receipt) {
    parse_receipt(event.text, receipt_);
    turn.is_state_dirty = true;
    return;
  }
  if (!is_alive(state_) || facts_.is_main_gone) return;
  switch (event.kind) {
    case Notified::Kind::Ready:
      facts_.has_announced_stop = false;
      if (plan_.gate == Gate::Notify) facts_.is_gate_seen = true;
      break;
    case Notified::Kind::Stopping:
    case Notified::Kind::Reloading: facts_.has_announced_stop = true; break;
    case Notified::Kind::Watchdog:
      if (facts_.watchdog_at && plan_.watchdog) facts_.watchdog_at = turn.now + *plan_.watchdog;
      return;
    case Notified::Kind::Status: status_text_ = event.text.substr(0, 256); break;
    case Notified::Kind::Receipt: break;
  }
  turn.is_state_dirty = true;
}

void Child::on_event(const GateSeen& event, Turn& turn) {
  if (!is_current(event.generation) || plan_.gate == Gate::Notify) return;
  facts_.is_gate_seen = true;
  turn.is_state_dirty = true;
}

void Child::on_event(const ProbeFinished& event, Turn& turn) {
  if (!is_current(event.generation)) return;
  auto& probe = event.kind == ProbeKind::Startup     ? startup_
                : event.kind == ProbeKind::Readiness ? readiness_
                                                     : liveness_;
  if (!probe) return;
  const auto before = probe->verdict();
  const auto counted = std::pair(probe->failures(), probe->successes());
  probe->on_result(event, turn.now);
  if (event.result == ProbeResult::ProberError) {
    report(turn, EventKind::ProbeError, Report::Level::Warning,
           fmt::format("{}: cannot probe: {}", plan_.name, event.detail),
           {{"probe", std::string(to_string(event.kind))}, {"reason", event.detail}});
  }
  if (counted != std::pair(probe->failures(), probe->successes())) turn.is_state_dirty = true;
  if (probe->verdict() == before) return;
  turn.is_state_dirty = true;
  if (probe->verdict() != ProbeSchedule::Verdict::Failure) return;
  report(turn, EventKind::ProbeFailed, Report::Level::Warning,
         fmt::format("{}: {} probe {}", plan_.name, to_string(event.kind), probe->describe()),
         {{"probe", std::string(to_string(event.kind))}, {"reason", event.detail}});
}

void Child::on_event(const HookFinished& event, Turn& turn) {
  if (!is_current(event.generation)) return;
  if (event.kind == HookKind::PreStop) {
    if (pre_stop_ != HookProgress::Running) return;
    pre_stop_ = HookProgress::Done;
    turn.is_state_dirty = true;
    if (!event.is_success) {
      report(turn, EventKind::HookFailed, Report::Level::Warning,
             fmt::format("{}: pre_stop hook failed: {}", plan_.name, event.detail),
             {{"hook", "pre_stop"}, {"reason", event.detail}});
    }
    return;
  }
  if (state_ != ChildState::PostStart || facts_.is_post_start_done) return;
  if (event.is_success) {
    facts_.is_post_start_done = true;
    turn.is_state_dirty = true;
  } else {
    replace(turn, fmt::format("post_start hook failed: {}", event.detail), true);
  }
}

}  // namespace pillion::supervisor::core
