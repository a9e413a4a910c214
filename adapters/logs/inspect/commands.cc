#include "adapters/logs/inspect/commands.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "adapters/logs/inspect/explain.h"
#include "adapters/logs/inspect/measure.h"
#include "adapters/logs/replay.h"
#include "adapters/logs/wiring.h"
#include "config/load.h"
#include "config/system_lookup.h"

namespace pillion::logs {
namespace {

constexpr int kExitConfig = 78;  // EX_CONFIG

// Where the format comes from: one [[input]] of a configuration, or the command line.
struct Source {
  std::string config_file;
  std::string service_file;
  std::string child;
  std::size_t input = 1;
  std::string format = "auto";
  std::string pattern;
  std::string multiline = "none";
  std::string timezone = "local";
  bool is_json = false;
  std::vector<std::string> files;
};

void add_source(CLI::App& command, Source& source) {
  auto* const config =
      command.add_option("--config", source.config_file, "Read lines as this configuration does");
  auto* const service =
      command.add_option("--service", source.service_file, "As a whole service file does");
  auto* const child =
      command.add_option("--child", source.child, "Which child of the service file");
  service->needs(child)->excludes(config);
  child->needs(service);
  command.add_option("--input", source.input, "Which [[input]] of the configuration, from 1")
      ->capture_default_str();
  command.add_option("--format", source.format, "Without configuration: the format")
      ->capture_default_str()
      ->excludes(config)
      ->excludes(service);
  command.add_option("--pattern", source.pattern, "Of format pattern, regex and csv")
      ->excludes(config)
      ->excludes(service);
  command.add_option("--multiline", source.multiline, "Which lines are one record: a preset")
      ->capture_default_str()
      ->excludes(config)
      ->excludes(service);
  command.add_option("--timezone", source.timezone, "Of times without a zone")
      ->capture_default_str()
      ->excludes(config)
      ->excludes(service);
  command.add_flag("--json", source.is_json, "Answer in JSON");
}

template<class Value>
std::optional<Value> value_named(const std::string& name, const char* option, const char* kind) {
  for (const auto& entry : config::names_of<Value>()) {
    if (entry.name == name) return entry.value;
  }
  std::fprintf(stderr, "error: %s: there is no %s \"%s\"; see docs/logs.md\n", option, kind,
               name.c_str());
  return std::nullopt;
}

std::optional<config::LogsConfig> config_of_format(const Source& source) {
  const auto format = value_named<config::LogFormat>(source.format, "--format", "format");
  const auto preset = value_named<config::Multiline>(source.multiline, "--multiline", "preset");
  if (!format || !preset) return std::nullopt;
  config::LogsConfig result;
  config::LogInput input;
  input.from_stdin = true;
  input.format = *format;
  input.multiline.preset = *preset;
  input.timezone = source.timezone;
  if (!source.pattern.empty()) input.pattern = source.pattern;
  result.inputs.push_back(std::move(input));
  return result;
}

std::optional<config::LogsConfig> config_of(const Source& source) {
  if (source.config_file.empty() && source.service_file.empty()) return config_of_format(source);
  const auto options = config::system_load_options();
  auto loaded = source.config_file.empty()
                    ? config::load_child_component<config::LogsConfig>(source.service_file,
                                                                       source.child, options)
                    : config::load_component<config::LogsConfig>(source.config_file, options);
  std::fputs(config::format_text(loaded.diagnostics).c_str(), stderr);
  return std::move(loaded.value);
}

std::optional<EncoderOptions> options_of(const Source& source) {
  const auto config = config_of(source);
  if (!config) return std::nullopt;
  auto options = inspection_options(*config, source.input - 1);
  if (options) return std::move(*options);
  std::fprintf(stderr, "error: %s\n", options.error().message().c_str());
  return std::nullopt;
}

}  // namespace

void add_explain(CLI::App& app, int& exit_code) {
  const auto source = std::make_shared<Source>();
  auto* const command = app.add_subcommand(
      "explain", "How each line on standard input is read: format, fields, and why not");
  add_source(*command, *source);
  command->callback([source, &exit_code] {
    auto options = options_of(*source);
    exit_code =
        options ? explain_lines(Inspector(std::move(*options), true), STDIN_FILENO, source->is_json)
                : kExitConfig;
  });
}

void add_test(CLI::App& app, int& exit_code) {
  const auto source = std::make_shared<Source>();
  auto* const command =
      app.add_subcommand("test", "How well and how fast log files are understood");
  add_source(*command, *source);
  command->add_option("FILE", source->files, "Log files, not compressed")->required();
  command->callback([source, &exit_code] {
    const auto options = options_of(*source);
    exit_code = options ? test_files(*options, source->files, source->is_json) : kExitConfig;
  });
}

void add_replay(CLI::App& app, int& exit_code) {
  const auto source = std::make_shared<Source>();
  const auto output = std::make_shared<std::size_t>(1);
  const auto file = std::make_shared<std::string>();
  auto* const command =
      app.add_subcommand("replay", "Send the records of a dead letter file once more");
  auto* const config = command->add_option("--config", source->config_file,
                                           "The configuration with the output to send to");
  auto* const service =
      command->add_option("--service", source->service_file, "A whole service file");
  auto* const child =
      command->add_option("--child", source->child, "Which child of the service file");
  service->needs(child)->excludes(config);
  child->needs(service);
  command->add_option("--output", *output, "Which [[output]] of the configuration, from 1")
      ->capture_default_str();
  command->add_option("FILE", *file, "The dead letter file")->required();
  command->callback([source, output, file, &exit_code] {
    if (source->config_file.empty() && source->service_file.empty()) {
      std::fputs("error: say --config FILE, or --service FILE --child NAME\n", stderr);
      exit_code = kExitConfig;
      return;
    }
    const auto loaded = config_of(*source);
    exit_code = loaded ? replay_dead_letters(*loaded, *output - 1, *file) : kExitConfig;
  });
}

}  // namespace pillion::logs
