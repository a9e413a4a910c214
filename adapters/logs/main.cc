// pillion-logs: arguments, configuration, run. What it does is in adapter.h.
#include <cstdio>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "adapters/logs/adapter.h"
#include "adapters/logs/inspect/commands.h"
#include "adapters/logs/ledger_command.h"
#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/log.h"

namespace {

using namespace pillion;

constexpr int kExitConfig = 78;  // EX_CONFIG
constexpr int kExitSetup = 71;   // EX_OSERR

struct Arguments {
  std::string config_file;
  std::string service_file;
  std::string child;
  bool is_check = false;
};

config::LoadResult<config::LogsConfig> load(const Arguments& arguments) {
  const auto options = config::system_load_options();
  if (!arguments.config_file.empty()) {
    return config::load_component<config::LogsConfig>(arguments.config_file, options);
  }
  return config::load_child_component<config::LogsConfig>(arguments.service_file, arguments.child,
                                                          options);
}

// What is wrong beyond the file's form, printed; true when there is nothing.
bool has_no_problems(const config::LogsConfig& config, const logs::Surroundings& surroundings) {
  const auto problems = logs::find_problems(config, surroundings);
  for (const auto& problem : problems) std::fprintf(stderr, "error: %s\n", problem.c_str());
  return problems.empty();
}

int run(const Arguments& arguments) {
  auto loaded = load(arguments);
  std::fputs(config::format_text(loaded.diagnostics).c_str(), stderr);
  if (!loaded.value) return kExitConfig;
  if (!has_no_problems(*loaded.value, logs::Surroundings::of_process(*loaded.value))) {
    return kExitConfig;
  }
  if (arguments.is_check) return 0;
  auto listeners = InheritedListeners::from_environment();
  const SystemClock clock;
  Loop loop;
  logs::Adapter adapter(loop, clock, std::move(*loaded.value), [&]() -> Result<config::LogsConfig> {
    auto again = load(arguments);
    if (!again.value) return fail(config::format_text(again.diagnostics));
    return std::move(*again.value);
  });
  if (auto started = adapter.start(std::move(listeners)); !started) {
    log::error("{}", started.error().message());
    return kExitSetup;
  }
  return adapter.run();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Reads the app's logs and ships them as JSON records.", "pillion-logs");
  auto* const config =
      app.add_option("--config", arguments.config_file, "The adapter's table, TOML");
  auto* const service = app.add_option("--service", arguments.service_file, "A whole service file");
  app.add_option("--child", arguments.child, "Which child of the service file")->needs(service);
  app.add_flag("--check", arguments.is_check, "Validate the configuration and exit");
  app.set_version_flag("--version", PILLION_VERSION);
  config->excludes(service);
  int exit_code = 0;
  logs::add_explain(app, exit_code);
  logs::add_test(app, exit_code);
  logs::add_replay(app, exit_code);
  logs::add_ledger(app, exit_code);
  CLI11_PARSE(app, argc, argv);
  if (!app.get_subcommands().empty()) return exit_code;
  log::configure(log::options_from_environment("pillion-logs"));
  if (arguments.config_file.empty() &&
      (arguments.service_file.empty() || arguments.child.empty())) {
    std::fputs("error: say --config FILE, or --service FILE --child NAME\n", stderr);
    return kExitConfig;
  }
  return run(arguments);
}
