// `pillion ps`: the services of this host, one line each.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/service_status.h"
#include "supervisor/cli/text_table.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kConfigDirectory = "/etc/pillion";

struct PsOptions {
  bool is_all = false;
  bool is_json = false;
};

// One line: what all children of a service come to.
struct Line {
  std::string name;
  std::string state;
  bool is_running = false;
  bool is_ready = false;
  Duration up_for{};
  std::size_t ready_children = 0;
  std::size_t children = 0;  // without init tasks
  unsigned restarts = 0;
  std::uint64_t memory_bytes = 0;
  double cpu_seconds = 0;
  std::string why;
};

Line line_of(const control::StatusReport& report) {
  const core::ServiceStatus& service = report.service;
  Line line{service.name,
            std::string(core::to_string(service.state)),
            true,
            service.is_ready,
            service.up_for,
            0,
            0,
            0,
            0,
            0,
            service.why};
  for (const core::ChildStatus& child : service.children) {
    line.restarts += child.restarts;
    if (child.role == core::Role::Init) continue;
    ++line.children;
    if (child.is_ready) ++line.ready_children;
  }
  for (const control::ChildUsage& usage : report.usage) {
    line.memory_bytes += usage.memory_bytes.value_or(0);
    line.cpu_seconds += usage.cpu_seconds.value_or(0);
  }
  return line;
}

std::vector<std::string> list_configured() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kConfigDirectory, ignored)) {
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  }
  return names;
}

std::vector<Line> collect(const PsOptions& options, int& exit_code) {
  std::vector<Line> lines;
  for (const std::string& name : list_services()) {
    const auto report = fetch_status(name);
    if (report) {
      lines.push_back(line_of(*report));
    } else if (report.error().errno_value() == ENOENT) {
      // Nobody holds its socket any more.
      lines.push_back({name,
                       "crashed",
                       false,
                       false,
                       {},
                       0,
                       0,
                       0,
                       0,
                       0,
                       "its supervisor is gone; `pillion clean` removes what it left"});
    } else {
      exit_code = complain(report.error());
    }
  }
  if (!options.is_all) return lines;
  for (const std::string& name : list_configured()) {
    const bool is_known = std::any_of(lines.begin(), lines.end(),
                                      [&](const Line& line) { return line.name == name; });
    if (!is_known) lines.push_back({name, "not running", false, false, {}, 0, 0, 0, 0, 0, ""});
  }
  return lines;
}

void print_json(const std::vector<Line>& lines) {
  Json all = Json::array();
  for (const Line& line : lines) {
    all.push_back({{"name", line.name},
                   {"state", line.state},
                   {"ready", line.is_ready},
                   {"up_seconds", std::chrono::duration<double>(line.up_for).count()},
                   {"ready_children", line.ready_children},
                   {"children", line.children},
                   {"restarts", line.restarts},
                   {"memory_bytes", line.memory_bytes},
                   {"cpu_seconds", line.cpu_seconds},
                   {"why", line.why}});
  }
  fmt::print("{}\n", all.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void print_table(const std::vector<Line>& lines) {
  std::vector<std::vector<Cell>> rows(1);
  for (const char* title : {"SERVICE", "STATE", "READY", "RESTARTS", "MEMORY", "CPU", "UP", "WHY"})
    rows[0].push_back({title, Colour::Dim});
  for (const Line& line : lines) {
    const Colour colour = line.is_ready ? Colour::Green : Colour::Yellow;
    if (!line.is_running) {
      rows.push_back(
          {{line.name}, {line.state, Colour::Red}, {"-"}, {"-"}, {"-"}, {"-"}, {"-"}, {line.why}});
      continue;
    }
    rows.push_back({{line.name},
                    {line.state, colour},
                    {fmt::format("{}/{}", line.ready_children, line.children), colour},
                    {std::to_string(line.restarts)},
                    {format_bytes(line.memory_bytes)},
                    {fmt::format("{:.2f}s", line.cpu_seconds)},
                    {format_duration(line.up_for)},
                    {line.why}});
  }
  fmt::print("{}", render_table(rows, "", wants_colour(STDOUT_FILENO)));
}

int show_services(const PsOptions& options) {
  int exit_code = kExitOk;
  const auto lines = collect(options, exit_code);
  if (options.is_json) {
    print_json(lines);
  } else if (!lines.empty()) {
    print_table(lines);
  } else if (exit_code == kExitOk) {
    std::puts("no service is running here; start one with `pillion run FILE`");
  }
  return exit_code;
}

}  // namespace

void add_ps(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<PsOptions>();  // shared with the callback
  CLI::App* ps = app.add_subcommand("ps", "List the services of this host");
  ps->add_flag("-a,--all", options->is_all, "Also those of /etc/pillion that do not run");
  ps->add_flag("--json", options->is_json, "An array of objects");
  ps->callback([options, &exit_code] { exit_code = show_services(*options); });
}

}  // namespace pillion::supervisor::cli
