#include "supervisor/cli/cli.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "config/parse_units.h"
#include "supervisor/cli/commands.h"

namespace pillion::supervisor::cli {

namespace {

constexpr const char* kFooter = R"(
Examples:
  pillion check orders.toml                 is the file right?
  sudo pillion run orders.toml              run the service until Ctrl-C
  pillion status orders                     who runs, who is ready, and if not, why
  pillion logs orders -f                    what the children print
  sudo pillion stop orders --grace 10s      drain, stop, and show the receipt

See pillion(8) for commands and pillion.toml(5) for the file.)";

void add_others(CLI::App& app, int& exit_code) {
  add_check(app, exit_code);
  add_config(app, exit_code);
  add_ps(app, exit_code);
  add_status(app, exit_code);
  add_why(app, exit_code);
  add_start(app, exit_code);
  add_stop(app, exit_code);
  add_plan(app, exit_code);
  add_reload(app, exit_code);
  add_restart(app, exit_code);
  add_retry(app, exit_code);
  add_deploy(app, exit_code);
  add_logs(app, exit_code);
  add_events(app, exit_code);
  add_timeline(app, exit_code);
  add_doctor(app, exit_code);
  add_exec(app, exit_code);
  add_clean(app, exit_code);
  add_metrics(app, exit_code);
  add_resize(app, exit_code);
  add_recommend(app, exit_code);
  add_top(app, exit_code);
  add_upgrade(app, exit_code);
  add_completion(app, exit_code);  // last: it describes the others
}

}  // namespace

std::string check_duration(const std::string& text) {
  return config::parse_duration(text)
             ? std::string()
             : fmt::format("\"{}\" is not a duration such as 500ms, 10s or 1m30s", text);
}

int run(int argc, char** argv) {
  CLI::App app(
      "Runs a service with its sidecars, ambassadors and adapters, as a Kubernetes Pod does.",
      "pillion");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", "pillion " PILLION_VERSION);
  int exit_code = kExitOk;
  add_run(app, exit_code);
  // A service starts faster, and its supervisor is smaller, without the others.
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command != "run" && command != "supervise") add_others(app, exit_code);
  // The library reports by exception, also for --help and --version; this is the boundary.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return exit_code;
}

}  // namespace pillion::supervisor::cli
