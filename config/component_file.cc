#include "config/component_file.h"

#include <CLI/CLI.hpp>

namespace pillion::config {

void add_component_options(CLI::App& app, ComponentFile& file, const std::string& config_help) {
  auto* const config = app.add_option("--config", file.config, config_help);
  auto* const service = app.add_option("--service", file.service, "A whole service file");
  auto* const child = app.add_option("--child", file.child, "Which child of the service file");
  service->needs(child)->excludes(config);
  child->needs(service);
}

}  // namespace pillion::config
