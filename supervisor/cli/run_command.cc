// `pillion run`, and the hidden `pillion supervise` that the keeper starts.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "config/check.h"
#include "config/system_lookup.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/host/run.h"
#include "supervisor/host/upgrade.h"

namespace pillion::supervisor::cli {

namespace {

// Everything wrong with the file is said before anything is opened.
int run_service(host::RunOptions options) {
  const auto load = config::system_load_options();
  auto loaded = config::load_service(options.config_file, load);
  if (!loaded.diagnostics.empty()) {
    const std::string text = config::format_text(loaded.diagnostics, wants_colour(STDERR_FILENO));
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
  if (!loaded.value) return kExitConfig;
  // A reload finds it again, wherever the supervisor is then.
  char path[PATH_MAX];
  if (::realpath(options.config_file.c_str(), path) != nullptr) options.config_file = path;
  auto exit_code = host::run_service(std::move(*loaded.value), options);
  if (exit_code) return *exit_code;
  fmt::print(stderr, "pillion: {}\n", exit_code.error().message());
  return kExitSetUp;
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<host::RunOptions>();  // shared with the callback
  CLI::App* run = app.add_subcommand("run", "Run a service in the foreground until told to stop");
  run->add_option("FILE", options->config_file, "The service's TOML file")->required();
  run->add_flag("--echo", options->echoes_output,
                "Also print the children's output here, each line after its child's name");
  run->add_flag(
      "-t,--tty", options->lends_terminal,
      "Lend this terminal to the app; as PID 1 with a terminal on stdin that is the default");
  run->callback([options, &exit_code] { exit_code = run_service(*options); });

  auto supervised = std::make_shared<host::RunOptions>();
  CLI::App* supervise = app.add_subcommand("supervise", "");
  supervise->group("");
  supervise->add_option("FILE", supervised->config_file)->required();
  supervise->add_flag("--echo", supervised->echoes_output);
  supervise->add_flag("--tty", supervised->lends_terminal);
  supervise->add_flag("--abandon", supervised->is_abandoning);
  auto state = std::make_shared<std::string>();  // shared with the callback
  supervise->add_option("--check-takeover", *state);
  supervise->callback([supervised, state, &exit_code] {
    exit_code = state->empty() ? host::run_supervisor(*supervised)
                               : host::check_takeover(supervised->config_file, *state);
  });
}

}  // namespace pillion::supervisor::cli
