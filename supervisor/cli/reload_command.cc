// `pillion plan` and `pillion reload`: what a changed file would do to the running service, and
// doing it.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "config/parse_units.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/control/reload_report.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::ordered_json;
using control::ReloadedChild;
using control::ReloadReport;

constexpr Duration kWaitMax = std::chrono::minutes(10);
constexpr int kStatusBadFile = 422;

struct ReloadOptions {
  std::string name;
  std::string file;
  bool is_dry_run = false;
  bool waits = false;
  std::optional<Duration> timeout;
  bool is_json = false;
};

// The file to load as the supervisor can find it, empty for the one that the service started from.
Result<std::string> file_of(const ReloadOptions& options) {
  const bool is_path = options.name.find('/') != std::string::npos ||
                       (options.name.size() > 5 && options.name.ends_with(".toml"));
  const std::string file = options.file.empty() && is_path ? options.name : options.file;
  if (file.empty()) return file;
  char path[PATH_MAX];
  if (::realpath(file.c_str(), path) == nullptr) return fail_errno("cannot find " + file);
  return std::string(path);
}

std::string what_happens(const ReloadedChild& child) {
  if (child.change == "none") return "untouched";
  if (child.change == "in_place") return "changes while it runs";
  if (child.change == "reload") return "reloads while it runs (SIGHUP)";
  if (child.change == "stop") return "stops for good";
  const std::string text = child.change == "start" ? "starts" : "restarts";
  if (!child.usually_ready_after) return text;
  return fmt::format("{}, ready after {} the last time", text,
                     format_duration(*child.usually_ready_after));
}

std::string describe(const config::Difference& difference) {
  if (difference.before.empty()) return fmt::format("{} = {}", difference.key, difference.after);
  if (difference.after.empty()) {
    return fmt::format("{}: {} goes", difference.key, difference.before);
  }
  return fmt::format("{}: {} → {}", difference.key, difference.before, difference.after);
}

void add_rows(const ReloadReport& report, const ReloadedChild& child,
              std::vector<std::vector<Cell>>& rows) {
  const bool is_hard = child.change == "replace" || child.change == "stop";
  const Colour colour = child.change == "none" ? Colour::Dim
                        : is_hard              ? Colour::Yellow
                                               : Colour::Green;
  rows.push_back({{child.name}, {child.role}, {what_happens(child), colour}, {""}});
  for (const config::Difference& difference : report.differences) {
    if (difference.child != child.name) continue;
    if (!rows.back().back().text.empty()) rows.push_back({{""}, {""}, {""}, {""}});
    rows.back().back().text = describe(difference);
  }
}

std::string render(const ReloadReport& report, bool with_colour) {
  if (!report.is_changed) {
    return fmt::format("{} runs as {} says; there is nothing to do\n", report.service, report.file);
  }
  std::string out;
  for (const config::Difference& difference : report.differences) {
    if (difference.child.empty()) out += "  " + describe(difference) + "\n";
  }
  std::vector<std::vector<Cell>> rows = {{{"CHILD", Colour::Dim},
                                          {"ROLE", Colour::Dim},
                                          {"WHAT HAPPENS", Colour::Dim},
                                          {"BECAUSE", Colour::Dim}}};
  for (const ReloadedChild& child : report.children) add_rows(report, child, rows);
  out += render_table(rows, "  ", with_colour);
  if (!report.restart_needed.empty()) {
    std::string tables;
    for (const auto& table : report.restart_needed) tables += (tables.empty() ? "" : ", ") + table;
    out += fmt::format("  {} a reload cannot apply {}; `pillion stop {}` and a new start can\n",
                       paint("note:", Colour::Yellow, with_colour), tables, report.service);
  }
  return out;
}

std::string summary(const ReloadReport& report, bool is_done) {
  const auto count = [&](std::string_view change) {
    return std::count_if(report.children.begin(), report.children.end(),
                         [&](const auto& child) { return child.change == change; });
  };
  return fmt::format(
      "{} {}: {} restarted, {} started, {} stopped, {} changed while running, {} "
      "untouched\n",
      report.service, is_done ? "runs by the new file" : "takes over the new file",
      count("replace"), count("start"), count("stop"), count("in_place") + count("reload"),
      count("none"));
}

// Everything wrong with the file, as `pillion check` would print it.
int refuse(const control::ControlReply& reply, bool is_json) {
  if (is_json) {
    fmt::print("{}", reply.body);
  } else if (reply.status == kStatusBadFile) {
    const Json json = Json::parse(reply.body, nullptr, false);
    if (json.is_object()) fmt::print(stderr, "{}", json.value("text", ""));
  }
  complain(refusal_of(reply));
  return reply.status == kStatusBadFile ? kExitConfig : kExitFailed;
}

int reload_service(const ReloadOptions& options) {
  const auto file = file_of(options);
  if (!file) return complain(file.error());
  Json body = {{"dry_run", options.is_dry_run}};
  if (!file->empty()) body["file"] = *file;
  const Duration timeout = options.timeout.value_or(kWaitMax);
  if (options.waits) {
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
    body["timeout"] = fmt::format("{}ms", milliseconds.count());
  }
  const auto reply =
      ask_api(options.name, "POST", options.waits ? "/v1/reload?wait=1" : "/v1/reload", body.dump(),
              options.waits ? timeout + kAnswerTimeout : kAnswerTimeout);
  if (!reply) return complain(reply.error());
  if (reply->status >= 300) return refuse(*reply, options.is_json);
  if (options.is_json) {
    fmt::print("{}", reply->body);
    return kExitOk;
  }
  const auto report = control::parse_reload_report(reply->body);
  if (!report) return complain(report.error());
  fmt::print(stderr, "{}", report->warnings);
  fmt::print("{}", options.is_dry_run || !report->is_changed
                       ? render(*report, wants_colour(STDOUT_FILENO))
                       : summary(*report, options.waits));
  return kExitOk;
}

void add_common(CLI::App& command, ReloadOptions& options) {
  command.add_option("NAME", options.name, "The service, or the path of its file")->required();
  command.add_option("--file", options.file, "Another file than the one that it started from");
  command.add_flag("--json", options.is_json, "The report as JSON");
}

}  // namespace

void add_plan(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ReloadOptions>();  // shared with the callback
  options->is_dry_run = true;
  CLI::App* plan = app.add_subcommand(
      "plan", "Show what a reload would restart, change or leave alone, and why");
  add_common(*plan, *options);
  plan->callback([options, &exit_code] { exit_code = reload_service(*options); });
}

void add_reload(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ReloadOptions>();  // shared with the callbacks
  CLI::App* reload =
      app.add_subcommand("reload", "Take a changed file over; what did not change is not touched");
  add_common(*reload, *options);
  reload->add_flag("--dry-run", options->is_dry_run, "As `pillion plan`");
  reload->add_flag("-w,--wait", options->waits, "Until everything runs by the new file");
  reload
      ->add_option_function<std::string>(
          "--timeout",
          [options](const std::string& text) {
            if (const auto timeout = config::parse_duration(text)) options->timeout = *timeout;
          },
          "How long to wait, at most 10m")
      ->check(check_duration);
  reload->callback([options, &exit_code] { exit_code = reload_service(*options); });
}

}  // namespace pillion::supervisor::cli
