// `pillion clean`: removes what crashed services have left on this machine.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/host/leftovers.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::ordered_json;

struct CleanOptions {
  std::vector<std::string> names;
  bool is_dry_run = false;
  bool is_json = false;
};

Json encode(const std::string& service, const std::vector<host::Leftover>& leftovers) {
  Json json = {{"service", service}, {"leftovers", Json::array()}};
  for (const host::Leftover& one : leftovers) {
    json["leftovers"].push_back({{"kind", one.kind}, {"what", one.what}});
  }
  return json;
}

int clean(const CleanOptions& options) {
  int exit_code = kExitOk;
  bool is_anything = false;
  Json report = Json::array();
  for (const std::string& name :
       options.names.empty() ? host::find_service_names() : options.names) {
    auto dead = host::DeadService::take(name);
    if (!dead) {
      const bool is_alive = dead.error().errno_value() == EBUSY;
      if (is_alive && options.names.empty()) continue;
      if (is_alive) fmt::print(stderr, "pillion: {}; stop it first\n", dead.error().message());
      exit_code = is_alive ? kExitFailed : complain(dead.error());
      continue;
    }
    std::vector<host::Leftover> leftovers;
    if (options.is_dry_run) {
      leftovers = dead->find();
    } else if (auto removed = dead->remove(leftovers); !removed) {
      exit_code = complain(removed.error());
    }
    if (leftovers.empty()) continue;
    is_anything = true;
    report.push_back(encode(name, leftovers));
    for (const host::Leftover& one : leftovers) {
      if (options.is_json) break;
      fmt::print("{}: {} {}\n", name, options.is_dry_run ? "would remove" : "removed", one.what);
    }
  }
  if (options.is_json) fmt::print("{}\n", report.dump());
  if (!options.is_json && !is_anything && exit_code == kExitOk) {
    std::puts("nothing is left of crashed services");
  }
  return exit_code;
}

}  // namespace

void add_clean(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<CleanOptions>();  // shared with the callback
  CLI::App* command =
      app.add_subcommand("clean", "Remove what crashed services left: processes, groups, networks");
  command->add_option("NAME", options->names, "Only of these (default: of all that do not run)");
  command->add_flag("-n,--dry-run", options->is_dry_run, "Only show what would be removed");
  command->add_flag("--json", options->is_json, "An array with an object per service");
  command->callback([options, &exit_code] { exit_code = clean(*options); });
}

}  // namespace pillion::supervisor::cli
