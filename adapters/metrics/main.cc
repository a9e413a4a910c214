// pillion-metrics: arguments, configuration, run. What it does is in adapter.h.
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include "adapters/metrics/adapter.h"
#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/log.h"

namespace {

using namespace pillion;

constexpr int kExitConfig = 78;  // EX_CONFIG
constexpr int kExitSetup = 71;   // EX_OSERR

struct Arguments {
  std::string config_file;
  std::string service_file;
  std::string child;
  bool is_check = false;
};

config::LoadResult<config::MetricsConfig> load(const Arguments& arguments) {
  const auto options = config::system_load_options();
  if (!arguments.config_file.empty()) {
    return config::load_component<config::MetricsConfig>(arguments.config_file, options);
  }
  return config::load_child_component<config::MetricsConfig>(arguments.service_file,
                                                             arguments.child, options);
}

int run(const Arguments& arguments) {
  auto loaded = load(arguments);
  std::fputs(config::format_text(loaded.diagnostics).c_str(), stderr);
  if (!loaded.value) return kExitConfig;
  const auto problems = metrics::find_problems(*loaded.value);
  for (const auto& problem : problems) std::fprintf(stderr, "error: %s\n", problem.c_str());
  if (!problems.empty()) return kExitConfig;
  if (arguments.is_check) return 0;
  auto listeners = InheritedListeners::from_environment();
  const SystemClock clock;
  Loop loop;
  metrics::Adapter adapter(loop, clock, std::move(*loaded.value),
                           [&]() -> Result<config::MetricsConfig> {
                             auto again = load(arguments);
                             if (!again.value) return fail(config::format_text(again.diagnostics));
                             return std::move(*again.value);
                           });
  if (auto started = adapter.start(std::move(listeners)); !started) {
    log::error("{}", started.error().message());
    return kExitSetup;
  }
  adapter.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::mallopt(M_ARENA_MAX, 2);  // threads that wait for a server need no heap of their own
  Arguments arguments;
  CLI::App app("Turns whatever metrics the app has into Prometheus' and OpenTelemetry's.",
               "pillion-metrics");
  auto* const config =
      app.add_option("--config", arguments.config_file, "The adapter's table, TOML");
  auto* const service = app.add_option("--service", arguments.service_file, "A whole service file");
  app.add_option("--child", arguments.child, "Which child of the service file")->needs(service);
  app.add_flag("--check", arguments.is_check, "Validate the configuration and exit");
  app.set_version_flag("--version", PILLION_VERSION);
  config->excludes(service);
  CLI11_PARSE(app, argc, argv);
  log::configure(log::options_from_environment("pillion-metrics"));
  if (arguments.config_file.empty() &&
      (arguments.service_file.empty() || arguments.child.empty())) {
    std::fputs("error: say --config FILE, or --service FILE --child NAME\n", stderr);
    return kExitConfig;
  }
  const int exit_code = run(arguments);
  std::fflush(nullptr);
  // A thread may be in a name look-up still; what it uses must not be torn down under it.
  ::_exit(exit_code);
}
