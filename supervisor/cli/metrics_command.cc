// `pillion metrics`: the metrics of a running service as Prometheus would get them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"

namespace pillion::supervisor::cli {

void add_metrics(CLI::App& app, int& exit_code) {
  struct Options {
    std::string name;
    bool is_own = false;
  };
  auto options = std::make_shared<Options>();  // shared with the callback
  CLI::App* metrics =
      app.add_subcommand("metrics", "Print the metrics of a service and its children");
  metrics->add_option("NAME", options->name, "The service")->required();
  metrics->add_flag("--own", options->is_own, "Only the supervisor's own, nothing is asked for");
  metrics->callback([options, &exit_code] {
    const auto text =
        call_api(options->name, "GET", options->is_own ? "/v1/metrics?own=1" : "/v1/metrics");
    if (!text) {
      exit_code = complain(text.error());
      return;
    }
    fmt::print("{}\n", *text);
  });
}

}  // namespace pillion::supervisor::cli
