// pillion deploy: asks for a rolling replace of the app and follows it to its end, also across
// restarts of the supervisor.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "config/diagnostic.h"
#include "config/load.h"
#include "config/parse_units.h"
#include "config/system_lookup.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/control/status_report.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr auto kPollPeriod = std::chrono::milliseconds(100);
constexpr auto kSilenceMax = std::chrono::seconds(30);

struct DeployOptions {
  std::string name;
  std::vector<std::string> rest;     // FILE, or the command
  std::vector<std::string> command;  // of --command
  std::vector<std::string> env;
  std::map<std::string, std::string> settings;  // timeout, min_ready, drain_timeout, ports
  bool has_command = false;
  bool is_cancel = false;
  bool returns_at_once = false;
  bool is_json = false;
};

bool is_file(const std::string& word) { return word.ends_with(".toml"); }

std::string absolute(const std::string& path) {
  char buffer[PATH_MAX];
  return ::realpath(path.c_str(), buffer) != nullptr ? buffer : path;
}

// What to deploy, as the API has it. Without FILE and command: the service's own file.
Result<Json> make_body(const DeployOptions& options) {
  Json body = Json::object();
  std::vector<std::string> words = options.command;
  words.insert(words.end(), options.rest.begin(), options.rest.end());
  std::erase(words, "--");
  const bool is_named = words.size() == 1 && !options.has_command && is_file(words.front());
  if (is_named) {
    body["file"] = absolute(words.front());
  } else if (!words.empty()) {
    body["command"] = words;
  } else if (options.has_command) {
    return fail("--command needs a program");
  } else if (is_file(options.name)) {
    body["file"] = absolute(options.name);
  } else if (options.env.empty()) {
    const auto status = call_api(options.name, "GET", "/v1/status");
    if (!status) return fail(status.error());
    const auto report = control::parse_status_report(*status);
    if (!report) return fail(report.error());
    body["file"] = absolute(report->config_file);
  }
  for (const std::string& entry : options.env) {
    body["env"][entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  }
  for (const auto& [key, value] : options.settings) body[key] = value;
  return body;
}

// A file with mistakes is shown as `pillion check` shows it.
bool is_good_file(const Json& body) {
  if (!body.contains("file")) return true;
  const auto loaded =
      config::load_service(body["file"].get<std::string>(), config::system_load_options());
  if (loaded.value) return true;
  fmt::print(stderr, "{}", config::format_text(loaded.diagnostics, wants_colour(STDERR_FILENO)));
  return false;
}

int show_end(const DeployOptions& options, const Json& last) {
  const bool is_promoted = last.value("promoted", false);
  if (options.is_json) {
    fmt::print("{}\n", last.dump());
    return is_promoted ? kExitOk : kExitFailed;
  }
  const std::string name = service_name_of(options.name);
  if (is_promoted) {
    fmt::print("{}: generation {} has replaced the app\n", name, last.value("generation", 0));
    return kExitOk;
  }
  fmt::print(stderr, "pillion: the deploy of {} is rolled back: {}\n", name,
             last.value("reason", ""));
  for (const Json& line : last.value("lines", Json::array())) {
    fmt::print(stderr, "  | {}\n", line.get<std::string>());
  }
  fmt::print(stderr, "the present generation was not touched\n");
  return kExitFailed;
}

// Until the deploy of that number has ended. Errors in between are those of a supervisor that is
// being restarted.
int follow(const DeployOptions& options, std::uint64_t number) {
  std::string shown;
  auto heard_at = std::chrono::steady_clock::now();
  for (;; std::this_thread::sleep_for(kPollPeriod)) {
    const auto answer = call_api(options.name, "GET", "/v1/deploy");
    if (!answer) {
      const bool is_over = std::chrono::steady_clock::now() - heard_at > kSilenceMax;
      if (is_over) return complain(answer.error());
      continue;
    }
    heard_at = std::chrono::steady_clock::now();
    const Json json = Json::parse(*answer, nullptr, false);
    if (!json.is_object()) return complain(Error("the supervisor's answer is not understood"));
    const Json last = json.value("last", Json::object());
    if (last.value("number", std::uint64_t{0}) >= number) return show_end(options, last);
    const std::string text = json.value("text", "");
    const bool is_lost = json.value("phase", "").empty();
    if (is_lost) return complain(Error("the deploy is gone: the service has been started anew"));
    if (text == shown || options.is_json) continue;
    shown = text;
    fmt::print("{}\n", text);
    std::fflush(stdout);
  }
}

int deploy(const DeployOptions& options) {
  if (options.is_cancel) {
    const auto answer = call_api(options.name, "POST", "/v1/deploy/cancel", "{}");
    if (!answer) return complain(answer.error());
    fmt::print("{}\n", options.is_json ? *answer : "the deploy is being rolled back");
    return kExitOk;
  }
  const auto body = make_body(options);
  if (!body) return complain(body.error());
  if (!is_good_file(*body)) return kExitConfig;
  const auto answer = call_api(options.name, "POST", "/v1/deploy", body->dump());
  if (!answer) return complain(answer.error());
  const Json json = Json::parse(*answer, nullptr, false);
  if (options.returns_at_once) {
    fmt::print("{}\n", options.is_json ? *answer : "the deploy has begun");
    return kExitOk;
  }
  return follow(options, json.is_object() ? json.value("number", std::uint64_t{0}) : 0);
}

void add_setting(CLI::App& command, const std::shared_ptr<DeployOptions>& options,
                 const std::string& name, const std::string& key, const std::string& doc,
                 std::string (*check)(const std::string&)) {
  command
      .add_option_function<std::string>(
          name, [options, key](const std::string& value) { options->settings[key] = value; }, doc)
      ->check(check);
}

std::string check_ports(const std::string& text) {
  return config::parse_port_range(text)
             ? std::string()
             : "\"" + text + "\" is not a range of ports such as 18000-18999";
}

std::string check_entry(const std::string& entry) {
  const std::size_t equals = entry.find('=');
  return equals == std::string::npos || equals == 0 ? "\"" + entry + "\" is not KEY=VALUE"
                                                    : std::string();
}

}  // namespace

void add_deploy(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<DeployOptions>();  // shared with the callbacks
  CLI::App* command = app.add_subcommand(
      "deploy", "Replace the app without a gap: the next generation beside it, then the traffic");
  command->add_option("NAME", options->name, "The service")->required();
  command->add_option("FILE", options->rest,
                      "The service file with the new app (default: the service's own file); or, "
                      "after --, a new command");
  command
      ->add_option("--command", options->command,
                   "A new command; arguments that begin with - after --")
      ->expected(0, CLI::detail::expected_max_vector_size)
      ->each([options](const std::string&) { options->has_command = true; });
  command->add_option("-e,--env", options->env, "KEY=VALUE for the new app, more than once")
      ->check(check_entry)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_setting(*command, options, "--timeout", "timeout", "To become ready (10m)", check_duration);
  add_setting(*command, options, "--min-ready", "min_ready",
              "It must stay ready for so long before it gets requests (0s)", check_duration);
  add_setting(*command, options, "--drain-timeout", "drain_timeout",
              "For what the old one has begun, before it is told to stop (30s)", check_duration);
  add_setting(*command, options, "--ports", "ports",
              "Where a generation may serve beside its own ports (18000-18999)", check_ports);
  command->add_flag("--cancel", options->is_cancel, "End the deploy that is under way");
  command->add_flag("--no-wait", options->returns_at_once, "Do not wait for its end");
  command->add_flag("--json", options->is_json, "How it ended, as JSON");
  command->callback([options, &exit_code] { exit_code = deploy(*options); });
}

}  // namespace pillion::supervisor::cli
