#include "supervisor/cli/status_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/service_status.h"
#include "supervisor/cli/text_table.h"

namespace pillion::supervisor::cli {

namespace {

Colour state_colour(const core::ChildStatus& child) {
  switch (child.state) {
    case core::ChildState::Running: return child.is_ready ? Colour::Green : Colour::Yellow;
    case core::ChildState::Completed:
    case core::ChildState::Stopped: return Colour::Dim;
    case core::ChildState::Failed:
    case core::ChildState::Stuck:
    case core::ChildState::Backoff: return Colour::Red;
    default: return Colour::Yellow;
  }
}

std::string memory_cell(const control::ChildUsage& usage) {
  if (!usage.memory_bytes) return "-";
  std::string text = format_bytes(*usage.memory_bytes);
  if (usage.memory_limit_bytes) text += "/" + format_bytes(*usage.memory_limit_bytes);
  return text;
}

std::string cpu_cell(const control::ChildUsage& usage) {
  if (!usage.cpu_seconds) return "-";
  std::string text = fmt::format("{:.2f}s", *usage.cpu_seconds);
  if (usage.cpu_limit) text += fmt::format("/{:g}", *usage.cpu_limit);
  return text;
}

std::string why_cell(const core::ChildStatus& child, const control::ChildUsage& usage) {
  // What the host sees explains more than the state does.
  if (!usage.notes.empty()) {
    return child.why.empty() ? usage.notes.front() : child.why + "; " + usage.notes.front();
  }
  if (!child.why.empty()) return child.why;
  // What ended the generation before is worth a word while it is fresh.
  if (child.restarts > 0 && child.last_exit) {
    return fmt::format("last: {}", child.last_exit->explain());
  }
  return child.status_text;
}

}  // namespace

std::string render_status(const control::StatusReport& report, bool with_colour) {
  const core::ServiceStatus& service = report.service;
  std::string out = paint(service.name, Colour::Bold, with_colour) + "  ";
  out += fmt::format("{}, ", core::to_string(service.state));
  out += paint(service.is_ready ? "ready" : "not ready",
               service.is_ready ? Colour::Green : Colour::Yellow, with_colour);
  out += fmt::format(", up {}", format_duration(service.up_for));
  if (service.stop_deadline_in) {
    out += fmt::format(", at most {} left", format_duration(*service.stop_deadline_in));
  }
  out += '\n';
  if (!service.why.empty()) out += fmt::format("  {}\n", service.why);

  std::vector<std::vector<Cell>> rows = {{{"CHILD", Colour::Dim},
                                          {"ROLE", Colour::Dim},
                                          {"STATE", Colour::Dim},
                                          {"READY", Colour::Dim},
                                          {"RESTARTS", Colour::Dim},
                                          {"PID", Colour::Dim},
                                          {"MEMORY", Colour::Dim},
                                          {"CPU", Colour::Dim},
                                          {"WHY", Colour::Dim}}};
  for (std::size_t i = 0; i < service.children.size(); ++i) {
    const core::ChildStatus& child = service.children[i];
    const control::ChildUsage usage =
        i < report.usage.size() ? report.usage[i] : control::ChildUsage{};
    const char* part = child.is_candidate ? " (next)" : child.is_leaving ? " (leaving)" : "";
    rows.push_back({{child.name + part},
                    {std::string(control::role_name(child.role))},
                    {std::string(core::to_string(child.state)), state_colour(child)},
                    {child.role == core::Role::Init ? "-"
                     : child.is_ready               ? "yes"
                                                    : "no"},
                    {std::to_string(child.restarts)},
                    {child.pid == 0 ? "-" : std::to_string(child.pid)},
                    {memory_cell(usage)},
                    {cpu_cell(usage)},
                    {why_cell(child, usage)}});
  }
  out += render_table(rows, "  ", with_colour);
  if (!report.network.empty()) out += fmt::format("  network: {}\n", report.network);
  for (const std::string& warning : report.warnings) {
    out += fmt::format("  {} {}\n", paint("note:", Colour::Yellow, with_colour), warning);
  }
  return out;
}

int show_status(const StatusOptions& options) {
  const bool is_list = options.names.size() != 1;
  const auto names = options.names.empty() ? list_services() : options.names;
  if (names.empty() && !options.is_json) {
    std::puts("no service is running here; start one with `pillion run FILE`");
    return kExitOk;
  }
  int exit_code = kExitOk;
  std::string json;
  bool is_first = true;
  for (const std::string& name : names) {
    const auto answer = call_api(name, "GET", "/v1/status");
    // A directory that a crashed service left is no news when all were asked for.
    if (!answer && options.names.empty() && answer.error().errno_value() == ENOENT) continue;
    const auto report = answer ? control::parse_status_report(*answer)
                               : Result<control::StatusReport>(fail(answer.error()));
    if (!report) {
      exit_code = complain(report.error());
      continue;
    }
    if (options.is_json) {
      json += (is_first ? "" : ",") + *answer;
    } else {
      fmt::print("{}{}", is_first ? "" : "\n", render_status(*report, wants_colour(STDOUT_FILENO)));
    }
    is_first = false;
  }
  if (options.is_json && (is_list || !json.empty())) {
    fmt::print("{}{}{}\n", is_list ? "[" : "", json, is_list ? "]" : "");
  }
  return exit_code;
}

void add_status(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<StatusOptions>();  // shared with the callback
  CLI::App* status =
      app.add_subcommand("status", "Show running services, and why one is not ready");
  status->add_option("NAME", options->names, "Services (default: all that run here)");
  status->add_flag("--json", options->is_json, "One object for one NAME, else an array");
  status->callback([options, &exit_code] { exit_code = show_status(*options); });
}

}  // namespace pillion::supervisor::cli
