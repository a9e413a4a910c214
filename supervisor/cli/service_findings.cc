#include "supervisor/cli/service_findings.h"

#include <fmt/format.h>

namespace pillion::supervisor::cli {

namespace {

using netns::Finding;
using netns::Verdict;

bool has_failed(const core::ChildStatus& child) {
  return child.state == core::ChildState::Failed || child.state == core::ChildState::Backoff ||
         child.state == core::ChildState::Stuck;
}

std::string reason_of(const core::ChildStatus& child) {
  return child.why.empty() ? std::string(core::to_string(child.state)) : child.why;
}

Finding judge_init(const std::string& service, const core::ChildStatus& child) {
  if (child.state == core::ChildState::Completed) {
    return {"init", Verdict::Ok, fmt::format("the init task {} has finished", child.name), ""};
  }
  return {"init", has_failed(child) ? Verdict::Problem : Verdict::Warning,
          fmt::format("the init task {} has not finished, so the app is not started: {}",
                      child.name, reason_of(child)),
          fmt::format("pillion logs {} {}", service, child.name)};
}

Finding judge_running(const std::string& service, const core::ChildStatus& child) {
  if (child.is_ready || child.state == core::ChildState::Completed) {
    return {"children", Verdict::Ok, fmt::format("{} is ready", child.name), ""};
  }
  return {"children", has_failed(child) ? Verdict::Problem : Verdict::Warning,
          fmt::format("{} is not ready: {}", child.name, reason_of(child)),
          fmt::format("pillion why {0} {1}; pillion logs {0} {1}", service, child.name)};
}

}  // namespace

std::vector<Finding> findings_of(const control::StatusReport& report) {
  const core::ServiceStatus& service = report.service;
  std::vector<Finding> findings;
  if (service.state == core::ServiceState::Running || service.is_ready) {
    findings.push_back({"service", Verdict::Ok,
                        fmt::format("{} is {}", service.name, core::to_string(service.state)), ""});
  } else {
    findings.push_back({"service", Verdict::Warning,
                        fmt::format("{} is {}: {}", service.name, core::to_string(service.state),
                                    service.why.empty() ? "not all has started" : service.why),
                        "pillion why " + service.name});
  }
  for (const core::ChildStatus& child : service.children) {
    const bool is_init = child.role == core::Role::Init;
    findings.push_back(is_init ? judge_init(service.name, child)
                               : judge_running(service.name, child));
  }
  return findings;
}

}  // namespace pillion::supervisor::cli
