#include "supervisor/host/end_report.h"

#include <algorithm>

#include "supervisor/usage/process_look.h"

namespace pillion::supervisor::host {
namespace {

// SIGKILL ends a healthy process within milliseconds; a large one needs some time to give back its
// memory.
constexpr auto kStuckAfter = std::chrono::seconds(2);
constexpr auto kLookPeriod = std::chrono::seconds(1);
constexpr std::size_t kPidsMax = 64;

}  // namespace

EndReport::EndReport(Loop& loop, OnReport on_report)
    : on_report_(std::move(on_report)), timer_(loop) {}

void EndReport::signalled(const std::string& leaf, int signal_number) {
  End& end = ends_[leaf];
  if (end.signal_number != 0) return;  // since when it knows is what counts
  end.signal_number = signal_number;
  end.signalled_at = clock_.now();
}

void EndReport::killing(const std::string& child, core::Generation generation,
                        const std::string& leaf, pid_t pid, const std::vector<long>& leftovers) {
  End& end = ends_[leaf];
  if (end.is_killed) return;
  end.child = child;
  end.generation = generation;
  end.is_killed = true;
  end.killed_at = clock_.now();
  end.pids.assign(leftovers.begin(), leftovers.begin() + static_cast<std::ptrdiff_t>(
                                                             std::min(leftovers.size(), kPidsMax)));
  if (pid > 0 && std::find(end.pids.begin(), end.pids.end(), pid) == end.pids.end()) {
    end.pids.insert(end.pids.begin(), pid);
  }
  if (!timer_.is_active()) timer_.start(kLookPeriod, kLookPeriod, [this] { look_for_stuck(); });
  core::Report report;
  report.level = core::Report::Level::Warning;
  report.kind = core::EventKind::ChildNotEnding;
  report.child = child;
  report.generation = generation;
  const auto look = pid > 0 ? usage::look_at(pid) : std::nullopt;
  if (look && look->state != 'Z') {
    if (end.signal_number == 0) return;  // it was not asked, so there is nothing to explain
    end.detail = usage::describe_unresponsive(child, *look, end.signal_number,
                                              clock_.now() - end.signalled_at);
    report.text = end.detail;
    report.fields = usage::fields_of(*look, end.signal_number);
    return on_report_(report);
  }
  std::vector<usage::ProcessLook> looks;
  for (const long each : end.pids) {
    auto left = usage::look_at(each);
    if (left && left->state != 'Z') looks.push_back(std::move(*left));
  }
  if (looks.empty()) return;
  report.text = usage::describe_leftovers(child, looks);
  report.fields = usage::fields_of(looks.front(), end.signal_number);
  on_report_(report);
}

std::string EndReport::detail(const std::string& leaf) const {
  const auto found = ends_.find(leaf);
  return found == ends_.end() ? std::string() : found->second.detail;
}

std::vector<std::string> EndReport::notes(const std::string& child) const {
  std::vector<std::string> notes;
  for (const auto& [leaf, end] : ends_) {
    if (end.child == child && !end.stuck.empty()) notes.push_back(end.stuck);
  }
  return notes;
}

void EndReport::look_for_stuck() {
  bool is_waiting = false;
  for (auto& [leaf, end] : ends_) is_waiting = look_for_stuck(end) || is_waiting;
  if (!is_waiting) timer_.stop();
}

// True while it is worth looking again.
bool EndReport::look_for_stuck(End& end) {
  if (!end.is_killed || !end.stuck.empty()) return false;
  if (clock_.now() - end.killed_at < kStuckAfter) return true;
  for (const long pid : end.pids) {
    const auto look = usage::look_at(pid);
    if (!look || look->state == 'Z') continue;
    end.stuck = usage::describe_stuck(*look);
    if (end.stuck.empty()) continue;
    core::Report report;
    report.level = core::Report::Level::Warning;
    report.kind = core::EventKind::ChildStuck;
    report.child = end.child;
    report.generation = end.generation;
    report.text = end.child + " does not end after SIGKILL: " + end.stuck;
    report.fields = usage::fields_of(*look, 0);
    on_report_(report);
    return false;
  }
  return true;
}

}  // namespace pillion::supervisor::host
