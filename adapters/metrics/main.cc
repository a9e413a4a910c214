// pillion-metrics: arguments, configuration, run. What it does is in adapter.h.
#include <malloc.h>
#include <sysexits.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

#include <CLI/CLI.hpp>

#include "adapters/metrics/adapter.h"
#include "config/component_file.h"
#include "runtime/log.h"

namespace {

using namespace pillion;

int run(const config::ComponentFile& file, bool is_check) {
  auto config = config::load_component_or_print<config::MetricsConfig>(file);
  if (!config) return EX_CONFIG;
  const auto problems = metrics::find_problems(*config);
  for (const auto& problem : problems) std::fprintf(stderr, "error: %s\n", problem.c_str());
  if (!problems.empty()) return EX_CONFIG;
  if (is_check) return 0;
  auto listeners = InheritedListeners::from_environment();
  const SystemClock clock;
  Loop loop;
  metrics::Adapter adapter(loop, clock, std::move(*config), [&] {
    return config::load_component_or_fail<config::MetricsConfig>(file);
  });
  if (auto started = adapter.start(std::move(listeners)); !started) {
    log::error("{}", started.error().message());
    return EX_OSERR;
  }
  adapter.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ::mallopt(M_ARENA_MAX, 2);  // threads that wait for a server need no heap of their own
  config::ComponentFile file;
  bool is_check = false;
  CLI::App app("Turns whatever metrics the app has into Prometheus' and OpenTelemetry's.",
               "pillion-metrics");
  config::add_component_options(app, file);
  app.add_flag("--check", is_check, "Validate the configuration and exit");
  app.set_version_flag("--version", PILLION_VERSION);
  CLI11_PARSE(app, argc, argv);
  log::configure(log::options_from_environment("pillion-metrics"));
  const int exit_code = run(file, is_check);
  std::fflush(nullptr);
  // A thread may be in a name look-up still; what it uses must not be torn down under it.
  ::_exit(exit_code);
}
