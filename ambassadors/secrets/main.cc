// pillion-secrets: fetches secrets from Vault or from local files, writes them to files with owner
// and mode, and answers the app's own Vault requests with a token that the app never sees.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "ambassadors/secrets/ambassador.h"
#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/log.h"

namespace {

using namespace pillion;

constexpr int kExitConfig = 78;  // EX_CONFIG
constexpr int kExitSetUp = 71;   // EX_OSERR

struct Arguments {
  std::string config_file;
  std::string service_file;
  std::string child;
  bool is_check_only = false;
};

std::optional<config::SecretsConfig> load(const Arguments& arguments) {
  const auto options = config::system_load_options();
  auto loaded = arguments.service_file.empty()
                    ? config::load_component<config::SecretsConfig>(arguments.config_file, options)
                    : config::load_child_component<config::SecretsConfig>(arguments.service_file,
                                                                          arguments.child, options);
  if (!loaded.diagnostics.empty()) {
    std::fputs(config::format_text(loaded.diagnostics).c_str(), stderr);
  }
  return std::move(loaded.value);
}

// Nobody reads secrets from our memory: no core dump, no ptrace and no /proc/PID/mem by others of
// our uid.
void hide_memory() {
  ::prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

int serve(const Arguments& arguments, config::SecretsConfig config) {
  std::signal(SIGPIPE, SIG_IGN);
  Loop loop;
  auto ambassador =
      secrets::Ambassador::create(loop, {.config = std::move(config),
                                         .listeners = InheritedListeners::from_environment(),
                                         .notifier = Notifier::from_environment(),
                                         .reload = [&arguments] { return load(arguments); }});
  if (!ambassador) {
    log::error("{}", ambassador.error().message());
    return kExitSetUp;
  }
  return (*ambassador)->run();
}

}  // namespace

int main(int argc, char** argv) {
  hide_memory();
  Arguments arguments;
  CLI::App app("Pillion's secrets ambassador");
  app.set_version_flag("--version", "pillion-secrets " PILLION_VERSION);
  auto* config_file = app.add_option("--config", arguments.config_file, "its table as a TOML file");
  auto* service = app.add_option("--service", arguments.service_file, "a whole service file");
  auto* child = app.add_option("--child", arguments.child, "with --service: the child's name");
  app.add_flag("--check", arguments.is_check_only, "validate the configuration, start nothing");
  config_file->excludes(service);
  service->needs(child);
  child->needs(service);
  CLI11_PARSE(app, argc, argv);
  if (arguments.config_file.empty() && arguments.service_file.empty()) {
    std::fputs("pillion-secrets: give --config FILE, or --service FILE --child NAME\n", stderr);
    return kExitConfig;
  }

  log::configure(log::options_from_environment("pillion-secrets"));
  auto config = load(arguments);
  if (!config) return kExitConfig;
  return arguments.is_check_only ? 0 : serve(arguments, std::move(*config));
}
