#include "supervisor/cli/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "supervisor/cli/event_source.h"
#include "supervisor/cli/service_status.h"
#include "supervisor/cli/text_table.h"

namespace pillion::supervisor::cli {

namespace {

using core::ChildState;
using core::ChildStatus;

constexpr std::size_t kEventsShown = 5;

// One that others may wait for, but that itself waits for nobody.
bool is_root_of_trouble(const ChildStatus& child) {
  switch (child.state) {
    case ChildState::Waiting:
    case ChildState::Completed: return false;
    case ChildState::Running: return !child.is_ready;
    default: return true;
  }
}

const ChildStatus* find_culprit(const core::ServiceStatus& service) {
  for (const ChildStatus& child : service.children) {
    if (is_root_of_trouble(child)) return &child;
  }
  for (const ChildStatus& child : service.children) {
    if (child.state == ChildState::Waiting) return &child;
  }
  return nullptr;
}

// What an operator can do about it.
std::string remedy(const std::string& service, const ChildStatus& child) {
  switch (child.state) {
    case ChildState::Backoff:
      return fmt::format("{} starts again in {}; `pillion retry {} {}` does it now", child.name,
                         format_duration(child.restart_in.value_or(Duration::zero())), service,
                         child.name);
    case ChildState::Failed:
      return fmt::format("it stays down; `pillion retry {} {}` starts it again", service,
                         child.name);
    case ChildState::Stopped:
      return fmt::format("it stays down; `pillion start {} {}` starts it again", service,
                         child.name);
    default: return {};
  }
}

void add_child_facts(const std::string& service, const ChildStatus& child,
                     std::vector<std::string>& evidence) {
  std::string fact = fmt::format("{} ({}): {} for {}", child.name, control::role_name(child.role),
                                 core::to_string(child.state), format_duration(child.in_state_for));
  if (child.generation > 0) fact += fmt::format(", generation {}", child.generation);
  if (child.restarts == 1) fact += ", restarted once";
  if (child.restarts > 1) fact += fmt::format(", restarted {} times", child.restarts);
  evidence.push_back(std::move(fact));
  if (const std::string text = remedy(service, child); !text.empty()) evidence.push_back(text);
  if (child.last_exit) {
    evidence.push_back(fmt::format("last time, {} {}", child.name, child.last_exit->describe()));
  }
  if (!child.status_text.empty()) {
    evidence.push_back(fmt::format("{} says: {}", child.name, child.status_text));
  }
}

// The latest that are worth a word.
void add_events(const std::vector<control::EventRecord>& events, const std::string& child,
                std::vector<std::string>& evidence) {
  std::vector<std::string> found;
  for (auto event = events.rbegin(); event != events.rend() && found.size() < kEventsShown;
       ++event) {
    if (event->kind == "service_preparing") break;  // an earlier run explains nothing
    // Who stopped or replaced a child, or was refused, is no warning, but explains its state.
    const bool is_wish = !child.empty() && event->kind == "child_replacing";
    const bool is_grave = control::level_rank(event->level) >= control::level_rank("warning");
    if (!is_grave && !is_wish) continue;
    if (!child.empty() && event->child != child) continue;
    found.push_back(render_event(*event, false));
  }
  evidence.insert(evidence.end(), found.rbegin(), found.rend());
}

Explanation explain_child(const std::string& service, const ChildStatus& child,
                          const std::vector<control::EventRecord>& events) {
  Explanation explanation;
  const bool is_done = child.state == ChildState::Completed;
  explanation.is_well = is_done || (child.state == ChildState::Running && child.is_ready);
  if (!explanation.is_well) explanation.culprit = child.name;
  if (is_done) {
    explanation.sentence = fmt::format("{} has done its work and ended", child.name);
  } else if (explanation.is_well) {
    explanation.sentence = fmt::format("{} runs and is ready, for {} now", child.name,
                                       format_duration(child.in_state_for));
  } else {
    explanation.sentence = fmt::format("{} is {}{}{}", child.name, core::to_string(child.state),
                                       child.why.empty() ? "" : ": ", child.why);
  }
  add_child_facts(service, child, explanation.evidence);
  add_events(events, child.name, explanation.evidence);
  return explanation;
}

}  // namespace

Explanation explain(const control::StatusReport& report,
                    const std::vector<control::EventRecord>& events, const std::string& child) {
  const core::ServiceStatus& service = report.service;
  if (!child.empty()) {
    for (const ChildStatus& one : service.children) {
      if (one.name == child) return explain_child(service.name, one, events);
    }
    return {fmt::format("{} has no child {}", service.name, child), false, "", {}};
  }
  Explanation explanation;
  explanation.is_well = service.is_ready;
  if (service.is_ready) {
    explanation.sentence =
        fmt::format("{} is ready, up {}", service.name, format_duration(service.up_for));
    for (const ChildStatus& one : service.children) {
      if (one.restarts > 0) add_child_facts(service.name, one, explanation.evidence);
    }
    add_events(events, "", explanation.evidence);
    return explanation;
  }
  explanation.sentence =
      fmt::format("{} is {}, not ready{}{}", service.name, core::to_string(service.state),
                  service.why.empty() ? "" : ": ", service.why);
  if (service.stop_deadline_in) {
    explanation.evidence.push_back(
        fmt::format("it is stopping, at most {} left", format_duration(*service.stop_deadline_in)));
  }
  const ChildStatus* culprit = find_culprit(service);
  if (culprit) {
    explanation.culprit = culprit->name;
    add_child_facts(service.name, *culprit, explanation.evidence);
  }
  add_events(events, culprit ? culprit->name : "", explanation.evidence);
  return explanation;
}

Explanation explain_end(const std::string& service, const std::vector<control::EventRecord>& events,
                        const core::Receipt* receipt) {
  Explanation explanation;
  const auto is_end = [](const control::EventRecord& event) {
    return event.kind == "service_stopped" || event.kind == "service_preparing";
  };
  const auto last = std::find_if(events.rbegin(), events.rend(), is_end);
  if (last == events.rend() || last->kind != "service_stopped") {
    explanation.sentence = fmt::format(
        "{} does not run, and did not end by itself: its keeper was killed or the machine went "
        "down",
        service);
    add_events(events, "", explanation.evidence);
    return explanation;
  }
  explanation.sentence = fmt::format("{} does not run: it was stopped", service);
  if (receipt) {
    explanation.is_well = receipt->exit_code == 0;
    explanation.sentence = fmt::format("{} does not run: it ended with exit code {}, asked by {}",
                                       service, receipt->exit_code, receipt->reason);
    for (const std::string& child : receipt->killed) {
      explanation.evidence.push_back(child + " had to be killed");
    }
  }
  explanation.evidence.push_back(render_event(*last, false));
  add_events(events, "", explanation.evidence);
  return explanation;
}

}  // namespace pillion::supervisor::cli
