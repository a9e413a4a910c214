#include "adapters/logs/inspect/commands.h"

#include <sysexits.h>
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
#include "config/component_file.h"

namespace pillion::logs {
namespace {

// Where the format comes from: one [[input]] of a configuration, or the command line.
struct Source {
  config::ComponentFile file;
  std::size_t input = 1;
  std::string format = "auto";
  std::string pattern;
  std::string multiline = "none";
  std::string timezone = "local";
  bool is_json = false;
  std::vector<std::string> files;
};

void add_source(CLI::App& command, Source& source) {
  config::add_component_options(command, source.file, "Read lines as this configuration does");
  command.add_option("--input", source.input, "Which [[input]] of the configuration, from 1")
      ->capture_default_str();
  const auto add_by_hand = [&](const char* name, std::string& value, const char* help) {
    return command.add_option(name, value, help)->excludes("--config")->excludes("--service");
  };
  add_by_hand("--format", source.format, "Without configuration: the format")
      ->capture_default_str();
  add_by_hand("--pattern", source.pattern, "Of format pattern, regex and csv");
  add_by_hand("--multiline", source.multiline, "Which lines are one record: a preset")
      ->capture_default_str();
  add_by_hand("--timezone", source.timezone, "Of times without a zone")->capture_default_str();
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

std::optional<EncoderOptions> options_of(const Source& source) {
  const auto config = source.file.is_named()
                          ? config::load_component_or_print<config::LogsConfig>(source.file)
                          : config_of_format(source);
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
                : EX_CONFIG;
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
    exit_code = options ? test_files(*options, source->files, source->is_json) : EX_CONFIG;
  });
}

void add_replay(CLI::App& app, int& exit_code) {
  struct Arguments {
    config::ComponentFile config;
    std::size_t output = 1;
    std::string letters;
  };
  const auto arguments = std::make_shared<Arguments>();
  auto* const command =
      app.add_subcommand("replay", "Send the records of a dead letter file once more");
  config::add_component_options(*command, arguments->config,
                                "The configuration with the output to send to");
  command
      ->add_option("--output", arguments->output, "Which [[output]] of the configuration, from 1")
      ->capture_default_str();
  command->add_option("FILE", arguments->letters, "The dead letter file")->required();
  command->callback([arguments, &exit_code] {
    const auto loaded = config::load_component_or_print<config::LogsConfig>(arguments->config);
    exit_code = loaded ? replay_dead_letters(*loaded, arguments->output - 1, arguments->letters)
                       : EX_CONFIG;
  });
}

}  // namespace pillion::logs
