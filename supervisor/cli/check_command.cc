// `pillion check` and `pillion config`; the work is done by config/.
#include "config/check.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "config/document.h"
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

using Json = nlohmann::ordered_json;

// A "${" that means nothing is written "$${" in TOML.
std::string unescaped(std::string text) {
  for (std::size_t at = 0; (at = text.find("$${", at)) != std::string::npos; ++at) {
    text.erase(at, 1);
  }
  return text;
}

Json to_json(const config::Node& node) {
  using Kind = config::Node::Kind;
  switch (node.kind) {
    case Kind::Integer: return node.integer;
    case Kind::Number: return node.number;
    case Kind::Boolean: return node.boolean;
    case Kind::String: return unescaped(node.text);
    case Kind::Time: return node.text;
    case Kind::Array: {
      Json array = Json::array();
      for (const config::Node& item : node.items) array.push_back(to_json(item));
      return array;
    }
    case Kind::Table: break;
  }
  Json table = Json::object();
  for (const config::Entry& entry : node.entries) table[entry.key] = to_json(entry.value);
  return table;
}

// The same keys and values as the TOML text.
std::string toml_to_json(const std::string& toml) {
  std::vector<config::Diagnostic> diagnostics;
  const config::Document document = config::parse_document(toml, "", diagnostics);
  return to_json(document.root).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
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
    bool is_json = false;
  };
  auto options = std::make_shared<Options>();  // shared with the callback
  CLI::App* config =
      app.add_subcommand("config", "Print a file as it is understood, every default shown");
  config->add_option("FILE", options->file, "The service's TOML file")->required();
  config->add_option("--child", options->child, "Only this child's own table");
  config->add_flag("--json", options->is_json, "As JSON instead of TOML");
  config->callback([options, &exit_code] {
    config::CheckOptions check;
    check.with_colour = wants_colour(STDERR_FILENO);
    config::CommandOutput output =
        config::show_config(options->file, options->child, check, config::system_load_options());
    if (options->is_json && output.exit_code == kExitOk) {
      output.standard_output = toml_to_json(output.standard_output);
    }
    exit_code = print(output);
  });
}

}  // namespace pillion::supervisor::cli
