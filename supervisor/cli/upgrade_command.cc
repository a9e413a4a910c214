// `pillion upgrade`: running services go over to the installed programs; no child is touched.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::json;

// The two checks take ten seconds each at most; the new supervisor half a second.
constexpr Duration kCheckTimeout = std::chrono::seconds(30);
constexpr Duration kTakeOverTimeout = std::chrono::seconds(30);
constexpr auto kPollPeriod = std::chrono::milliseconds(50);

struct Programs {
  std::string version;
  int supervisor_pid = 0;
};

Result<Programs> ask_for_programs(const std::string& name) {
  auto reply = call_api(name, "GET", "/v1/version");
  if (!reply) return fail(reply.error());
  const Json json = Json::parse(*reply, nullptr, false);
  if (!json.is_object()) return fail("the answer of " + name + " is no JSON object");
  return Programs{json.value("version", "?"), json.value("supervisor_pid", 0)};
}

struct Upgraded {
  std::string service;
  Programs before;
  Programs after;
};

Result<Upgraded> upgrade(const std::string& name) {
  const auto before = ask_for_programs(name);
  if (!before) return fail(before.error());
  auto asked = call_api(name, "POST", "/v1/upgrade", "{}", kCheckTimeout);
  if (!asked) return fail(asked.error().wrap(name + " goes on as it is"));
  const auto deadline = std::chrono::steady_clock::now() + kTakeOverTimeout;
  while (std::chrono::steady_clock::now() < deadline) {
    const auto now = ask_for_programs(name);
    if (now && now->supervisor_pid != before->supervisor_pid) {
      return Upgraded{name, *before, *now};
    }
    std::this_thread::sleep_for(kPollPeriod);
  }
  return fail(fmt::format("{}: the new supervisor does not answer; its output says why", name));
}

struct UpgradeOptions {
  std::vector<std::string> names;
  bool is_all = false;
  bool is_json = false;
};

void print(const Upgraded& done, bool is_json) {
  if (!is_json) {
    fmt::print("{}: {} -> {}, no child restarted\n", done.service, done.before.version,
               done.after.version);
    return;
  }
  const Json json = {{"service", done.service},
                     {"version_before", done.before.version},
                     {"version", done.after.version},
                     {"supervisor_pid", done.after.supervisor_pid}};
  fmt::print("{}\n", json.dump());
}

int upgrade_services(const UpgradeOptions& options) {
  if (options.is_all == !options.names.empty()) {
    fmt::print(stderr, "pillion: name the services to upgrade, or say --all\n");
    return kExitUsage;
  }
  int exit_code = kExitOk;
  for (const std::string& name : options.is_all ? list_services() : options.names) {
    const auto done = upgrade(service_name_of(name));
    if (done) print(*done, options.is_json);
    if (done) continue;
    // A socket that a crashed service left behind says nothing against an upgrade of all.
    if (options.is_all && done.error().errno_value() == ENOENT) continue;
    exit_code = complain(done.error());
  }
  return exit_code;
}

}  // namespace

void add_upgrade(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<UpgradeOptions>();  // shared with the callback
  CLI::App* upgrade = app.add_subcommand(
      "upgrade", "Replace supervisor and keeper by the installed ones, under running children");
  upgrade->add_option("NAME", options->names, "Services");
  upgrade->add_flag("--all", options->is_all, "All that run here");
  upgrade->add_flag("--json", options->is_json, "One object per line");
  upgrade->callback([options, &exit_code] { exit_code = upgrade_services(*options); });
}

}  // namespace pillion::supervisor::cli
