// Which file a component's table stands in, as the command line of every component says it:
// --config FILE (the table as a document of its own), or --service FILE --child NAME. Variables and
// users are those of the real system.
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/result.h"

namespace CLI {
class App;
}

namespace pillion::config {

struct ComponentFile {
  std::string config;
  std::string service;
  std::string child;

  // False when the command line named no file.
  bool is_named() const { return !config.empty() || !service.empty(); }
};

// T is one of those that load.h's load_component takes.
template<class T>
LoadResult<T> load_component(const ComponentFile& file) {
  const auto options = system_load_options();
  return file.config.empty() ? load_child_component<T>(file.service, file.child, options)
                             : load_component<T>(file.config, options);
}

// Prints to stderr what is wrong and what is doubtful; empty when something is wrong.
template<class T>
std::optional<T> load_component_or_print(const ComponentFile& file) {
  if (!file.is_named()) {
    std::fputs("error: say --config FILE, or --service FILE --child NAME\n", stderr);
    return std::nullopt;
  }
  auto loaded = load_component<T>(file);
  std::fputs(format_text(loaded.diagnostics).c_str(), stderr);
  return std::move(loaded.value);
}

// The error is all that is wrong or doubtful, as text.
template<class T>
Result<T> load_component_or_fail(const ComponentFile& file) {
  auto loaded = load_component<T>(file);
  if (!loaded.value) return fail(format_text(loaded.diagnostics));
  return std::move(*loaded.value);
}

// Adds --config, --service and --child, which set `file`: it lives as long as `app` parses.
void add_component_options(CLI::App& app, ComponentFile& file,
                           const std::string& config_help = "Its table as a TOML file");

}  // namespace pillion::config
