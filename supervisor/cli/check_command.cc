// `pillion check` and `pillion config`; the work is done by config/.
#include "config/check.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "config/system_lookup.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/text_table.h"

namespace pillion::supervisor::cli {

namespace {

int print(const config::CommandOutput& output) {
  std::fwrite(output.standard_output.data(), 1, output.standard_output.size(), stdout);
  std::fwrite(output.standard_error.data(), 1, output.standard_error.size(), stderr);
  return output.exit_code;
}

}  // namespace

void add_check(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<config::CheckOptions>();  // shared with the callbacks
  CLI::App* check = app.add_subcommand("check", "Validate files: every problem, with its place");
  check->add_option("FILE", options->files, "TOML files of services")->required();
  check
      ->add_option_function<std::string>(
          "--format",
          [options](const std::string& format) {
            options->format =
                format == "json" ? config::ReportFormat::Json : config::ReportFormat::Text;
          },
          "text (default) or json")
      ->check(CLI::IsMember({"text", "json"}));
  check->add_flag_callback(
      "--json", [options] { options->format = config::ReportFormat::Json; }, "As --format json");
  check->callback([options, &exit_code] {
    options->with_colour = wants_colour(STDERR_FILENO);
    exit_code = print(config::check_files(*options, config::system_load_options()));
  });
}

void add_config(CLI::App& app, int& exit_code) {
  struct Options {
    std::string file;
    std::string child;
  };
  auto options = std::make_shared<Options>();  // shared with the callback
  CLI::App* config =
      app.add_subcommand("config", "Print a file as it is understood, every default shown");
  config->add_option("FILE", options->file, "The service's TOML file")->required();
  config->add_option("--child", options->child, "Only this child's own table");
  config->callback([options, &exit_code] {
    config::CheckOptions check;
    check.with_colour = wants_colour(STDERR_FILENO);
    exit_code = print(
        config::show_config(options->file, options->child, check, config::system_load_options()));
  });
}

}  // namespace pillion::supervisor::cli
