// pillion-secrets: fetches secrets from Vault or from local files, writes them to files with owner
// and mode, and answers the app's own Vault requests with a token that the app never sees.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <utility>

#include "ambassadors/secrets/ambassador.h"
#include "config/component_file.h"
#include "runtime/log.h"

namespace {

using namespace pillion;

// Nobody reads secrets from our memory: no core dump, no ptrace and no /proc/PID/mem by others of
// our uid.
void hide_memory() {
  ::prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

int serve(const config::ComponentFile& file, config::SecretsConfig config) {
  Loop loop;
  auto ambassador = secrets::Ambassador::create(
      loop,
      {.config = std::move(config),
       .listeners = InheritedListeners::from_environment(),
       .reload = [&file] { return config::load_component_or_print<config::SecretsConfig>(file); }});
  if (!ambassador) {
    log::error("{}", ambassador.error().message());
    return EX_OSERR;
  }
  return (*ambassador)->run();
}

}  // namespace

int main(int argc, char** argv) {
  hide_memory();
  config::ComponentFile file;
  bool is_check = false;
  CLI::App app("Pillion's secrets ambassador");
  app.set_version_flag("--version", "pillion-secrets " PILLION_VERSION);
  config::add_component_options(app, file);
  app.add_flag("--check", is_check, "Validate the configuration and exit");
  CLI11_PARSE(app, argc, argv);
  log::configure(log::options_from_environment("pillion-secrets"));
  auto config = config::load_component_or_print<config::SecretsConfig>(file);
  if (!config) return EX_CONFIG;
  return is_check ? 0 : serve(file, std::move(*config));
}
