// pillion-logs: arguments, configuration, run. What it does is in adapter.h.
#include <sysexits.h>

#include <cstdio>
#include <utility>

#include <CLI/CLI.hpp>

#include "adapters/logs/adapter.h"
#include "adapters/logs/inspect/commands.h"
#include "adapters/logs/ledger_command.h"
#include "config/component_file.h"
#include "runtime/log.h"

namespace {

using namespace pillion;

// What is wrong beyond the file's form, printed; true when there is nothing.
bool has_no_problems(const config::LogsConfig& config, const logs::Surroundings& surroundings) {
  const auto problems = logs::find_problems(config, surroundings);
  for (const auto& problem : problems) std::fprintf(stderr, "error: %s\n", problem.c_str());
  return problems.empty();
}

int run(const config::ComponentFile& file, bool is_check) {
  auto config = config::load_component_or_print<config::LogsConfig>(file);
  if (!config || !has_no_problems(*config, logs::Surroundings::of_process(*config))) {
    return EX_CONFIG;
  }
  if (is_check) return 0;
  auto listeners = InheritedListeners::from_environment();
  const SystemClock clock;
  Loop loop;
  logs::Adapter adapter(loop, clock, std::move(*config),
                        [&] { return config::load_component_or_fail<config::LogsConfig>(file); });
  if (auto started = adapter.start(std::move(listeners)); !started) {
    log::error("{}", started.error().message());
    return EX_OSERR;
  }
  return adapter.run();
}

}  // namespace

int main(int argc, char** argv) {
  config::ComponentFile file;
  bool is_check = false;
  CLI::App app("Reads the app's logs and ships them as JSON records.", "pillion-logs");
  config::add_component_options(app, file);
  app.add_flag("--check", is_check, "Validate the configuration and exit");
  app.set_version_flag("--version", PILLION_VERSION);
  int exit_code = 0;
  logs::add_explain(app, exit_code);
  logs::add_test(app, exit_code);
  logs::add_replay(app, exit_code);
  logs::add_ledger(app, exit_code);
  CLI11_PARSE(app, argc, argv);
  if (!app.get_subcommands().empty()) return exit_code;
  log::configure(log::options_from_environment("pillion-logs"));
  return run(file, is_check);
}
