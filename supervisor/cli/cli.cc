#include "supervisor/cli/cli.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "config/check.h"
#include "config/parse_units.h"
#include "config/system_lookup.h"
#include "runtime/clock.h"
#include "supervisor/cli/logs_command.h"
#include "supervisor/cli/status_command.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/host/run.h"

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

int print(const config::CommandOutput& output) {
  std::fwrite(output.standard_output.data(), 1, output.standard_output.size(), stdout);
  std::fwrite(output.standard_error.data(), 1, output.standard_error.size(), stderr);
  return output.exit_code;
}

std::string check_duration(const std::string& text) {
  return config::parse_duration(text)
             ? std::string()
             : fmt::format("\"{}\" is not a duration such as 500ms, 10s or 1m30s", text);
}

// `pillion run FILE`: everything wrong with the file is said before anything is opened.
int run_service(const host::RunOptions& options) {
  const auto load = config::system_load_options();
  const auto loaded = config::load_service(options.config_file, load);
  if (!loaded.diagnostics.empty()) {
    const std::string text = config::format_text(loaded.diagnostics, wants_colour(STDERR_FILENO));
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
  if (!loaded.value) return kExitConfig;
  const Error error = host::exec_keeper(loaded.value->name(), options);
  fmt::print(stderr, "pillion: {}\n", error.message());
  return 71;
}

// Each command: its options live as long as the parser, its action runs after parsing.
struct Commands {
  host::RunOptions run;
  host::RunOptions supervise;
  config::CheckOptions check;
  std::string config_file;
  std::string config_child;
  StatusOptions status;
  StopOptions stop;
  std::string stop_grace;
  LogsOptions logs;
  std::string logs_since;
  int exit_code = kExitOk;
};

void add_run(CLI::App& app, Commands& commands) {
  CLI::App* run = app.add_subcommand("run", "Run a service in the foreground until told to stop");
  run->add_option("FILE", commands.run.config_file, "The service's TOML file")->required();
  run->add_flag("--echo", commands.run.echoes_output,
                "Also print the children's output here, each line after its child's name");
  run->callback([&] { commands.exit_code = run_service(commands.run); });

  // What the keeper starts; not for people.
  CLI::App* supervise = app.add_subcommand("supervise", "");
  supervise->group("");
  supervise->add_option("FILE", commands.supervise.config_file)->required();
  supervise->add_flag("--echo", commands.supervise.echoes_output);
  supervise->callback([&] { commands.exit_code = host::run_supervisor(commands.supervise); });
}

void add_check(CLI::App& app, Commands& commands) {
  CLI::App* check = app.add_subcommand("check", "Validate files: every problem, with its place");
  check->add_option("FILE", commands.check.files, "TOML files of services")->required();
  check
      ->add_option_function<std::string>(
          "--format",
          [&](const std::string& format) {
            commands.check.format =
                format == "json" ? config::ReportFormat::Json : config::ReportFormat::Text;
          },
          "text (default) or json")
      ->check(CLI::IsMember({"text", "json"}));
  check->callback([&] {
    commands.check.with_colour = wants_colour(STDERR_FILENO);
    commands.exit_code = print(config::check_files(commands.check, config::system_load_options()));
  });

  CLI::App* config =
      app.add_subcommand("config", "Print a file as it is understood, every default shown");
  config->add_option("FILE", commands.config_file, "The service's TOML file")->required();
  config->add_option("--child", commands.config_child, "Only this child's own table");
  config->callback([&] {
    commands.check.with_colour = wants_colour(STDERR_FILENO);
    commands.exit_code = print(config::show_config(commands.config_file, commands.config_child,
                                                   commands.check, config::system_load_options()));
  });
}

void add_status(CLI::App& app, Commands& commands) {
  CLI::App* status =
      app.add_subcommand("status", "Show running services, and why one is not ready");
  status->add_option("NAME", commands.status.names, "Services (default: all that run here)");
  status->add_flag("--json", commands.status.is_json, "One object for one NAME, else an array");
  status->callback([&] { commands.exit_code = show_status(commands.status); });

  CLI::App* stop = app.add_subcommand("stop", "Drain and stop a service; prints the receipt");
  stop->add_option("NAME", commands.stop.name, "The service")->required();
  stop->add_option("--grace", commands.stop_grace, "Time for the whole stop, instead of stop_grace")
      ->check(check_duration);
  stop->add_flag("--json", commands.stop.is_json, "The receipt as JSON");
  stop->callback([&] {
    if (const auto grace = config::parse_duration(commands.stop_grace))
      commands.stop.grace = *grace;
    commands.exit_code = stop_service(commands.stop);
  });
}

void add_logs(CLI::App& app, Commands& commands) {
  CLI::App* logs = app.add_subcommand("logs", "Show what the children of a service print");
  logs->add_option("NAME", commands.logs.name, "The service")->required();
  logs->add_option("CHILD", commands.logs.child, "Only this child (default: all, by time)");
  logs->add_flag("-f,--follow", commands.logs.is_following,
                 "Go on with what is printed from now on");
  logs->add_option("--since", commands.logs_since, "10m (ago) or 2024-01-15T14:32:01Z")
      ->check([](const std::string& text) {
        return parse_since(text, SystemClock().wall_now())
                   ? std::string()
                   : fmt::format(
                         "\"{}\" is neither a duration such as 10m nor a time such as "
                         "2024-01-15T14:32:01Z",
                         text);
      });
  logs->add_option("-n,--tail", commands.logs.tail, "Only the last so many lines");
  logs->add_flag("-p,--previous", commands.logs.is_previous,
                 "Only what the generation before the last one printed");
  logs->add_flag("--json", commands.logs.is_json, "One object per line");
  logs->callback([&] {
    if (!commands.logs_since.empty()) {
      commands.logs.since = parse_since(commands.logs_since, SystemClock().wall_now());
    }
    commands.exit_code = show_logs(commands.logs);
  });
}

}  // namespace

int run(int argc, char** argv) {
  CLI::App app(
      "Runs a service with its sidecars, ambassadors and adapters, as a Kubernetes Pod does.",
      "pillion");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", "pillion " PILLION_VERSION);
  Commands commands;
  add_run(app, commands);
  add_check(app, commands);
  add_status(app, commands);
  add_logs(app, commands);
  // The library reports by exception, also for --help and --version; this is the boundary.
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return commands.exit_code;
}

}  // namespace pillion::supervisor::cli
