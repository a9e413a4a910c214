// `pillion why`: one sentence about a service or a child, and its evidence.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/child_name.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/event_source.h"
#include "supervisor/cli/explain.h"
#include "supervisor/cli/log_files.h"
#include "supervisor/cli/log_records.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/service_status.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLogLinesShown = 5;

struct WhyOptions {
  std::string name;
  std::string child;
  bool is_json = false;
};

// What the child printed last, of whatever generation printed last.
void add_last_words(const std::string& service, const std::string& child,
                    std::vector<std::string>& evidence) {
  std::deque<std::string> last;
  LogFollower log(host::service_paths(service).log, child);
  log.read([&](std::string_view line) {
    const auto record = parse_log_record(line);
    if (!record) return;
    last.push_back(fmt::format("{}#{} printed: {}", child, record->generation, record->text));
    if (last.size() > kLogLinesShown) last.pop_front();
  });
  evidence.insert(evidence.end(), last.begin(), last.end());
}

void print(const std::string& service, const WhyOptions& options, const Explanation& found) {
  if (options.is_json) {
    Json json = {{"service", service},
                 {"sentence", found.sentence},
                 {"well", found.is_well},
                 {"evidence", found.evidence}};
    if (!found.culprit.empty()) json["culprit"] = found.culprit;
    fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace));
    return;
  }
  const bool with_colour = wants_colour(STDOUT_FILENO);
  fmt::print("{}\n",
             paint(found.sentence, found.is_well ? Colour::Green : Colour::Bold, with_colour));
  for (const std::string& fact : found.evidence) fmt::print("  {}\n", fact);
}

int explain_service(const WhyOptions& options) {
  const std::string service = service_name_of(options.name);
  const auto report = fetch_status(options.name);
  if (!report && report.error().errno_value() != ENOENT) return complain(report.error());
  const auto events = fetch_events(options.name, {});
  if (!report) {
    if (!events) return complain(report.error());
    const auto receipt = read_last_receipt(options.name);
    print(service, options, explain_end(service, *events, receipt ? &*receipt : nullptr));
    return kExitNotRunning;
  }
  const auto& children = report->service.children;
  const bool is_known = std::any_of(children.begin(), children.end(),
                                    [&](const auto& child) { return child.name == options.child; });
  if (!options.child.empty() && !is_known) {
    return complain(Error(fmt::format("{} has no child \"{}\"; `pillion status {}` lists them",
                                      service, options.child, service)));
  }
  Explanation found =
      explain(*report, events ? *events : std::vector<control::EventRecord>(), options.child);
  if (!found.culprit.empty()) add_last_words(service, found.culprit, found.evidence);
  print(service, options, found);
  return kExitOk;
}

}  // namespace

void add_why(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<WhyOptions>();  // shared with the callback
  CLI::App* why = app.add_subcommand("why", "Say in one sentence why a service is as it is");
  why->add_option("NAME", options->name, "The service, or SERVICE/CHILD")->required();
  why->add_option("CHILD", options->child, "One child of it");
  why->add_flag("--json", options->is_json, "An object with sentence and evidence");
  why->callback([options, &exit_code] {
    split_child(options->name, options->child);
    exit_code = explain_service(*options);
  });
}

}  // namespace pillion::supervisor::cli
