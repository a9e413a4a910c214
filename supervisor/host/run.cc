#include "supervisor/host/run.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "config/diagnostic.h"
#include "config/load.h"
#include "config/system_lookup.h"
#include "runtime/file_replacement.h"
#include "runtime/log.h"
#include "supervisor/control/control_server.h"
#include "supervisor/host/abandon.h"
#include "supervisor/host/child_environment.h"
#include "supervisor/host/children_api.h"
#include "supervisor/host/deploy_api.h"
#include "supervisor/host/events_api.h"
#include "supervisor/host/metrics_api.h"
#include "supervisor/host/reload_api.h"
#include "supervisor/host/resize_api.h"
#include "supervisor/host/service_api.h"
#include "supervisor/host/supervisor.h"
#include "supervisor/host/usage_api.h"
#include "supervisor/host/user_namespace.h"
#include "supervisor/host/volumes.h"

namespace pillion::supervisor::host {
namespace {

constexpr int kExitConfig = 78;
constexpr int kExitSetUp = 71;

// The accepted configuration: the file as it was when the service started, so that a restarted
// supervisor does not pick up an edit.
Result<config::Service> load(const std::string& file, int& exit_code) {
  auto loaded = config::load_service(file, config::system_load_options());
  if (!loaded.diagnostics.empty()) {
    std::fputs(config::format_text(loaded.diagnostics).c_str(), stderr);
  }
  if (loaded.value) return std::move(*loaded.value);
  exit_code = kExitConfig;
  return fail("cannot load " + file);
}

// Null in the first life of a service.
const char* accepted_file(const KeeperClient& keeper) {
  const char* accepted = ::getenv("PILLION_ACCEPTED");
  const bool is_there = accepted != nullptr && ::access(accepted, R_OK) == 0;
  return keeper.restarts() > 0 && is_there ? accepted : nullptr;
}

int fail_set_up(KeeperClient& keeper, const Error& error, int exit_code) {
  log::error("{}", error.message());
  static_cast<void>(keeper.finish(exit_code));
  return exit_code;
}

// Runs the loop until the service is over. Parts of the host add their routes to `api` here.
void serve(Loop& loop, KeeperClient& keeper, Supervisor& supervisor, const RunOptions& options,
           std::optional<Fd> metrics_listener) {
  control::Api api;
  ServiceApi service_api(api, supervisor, options.config_file);
  ChildrenApi children_api(loop, api, supervisor);
  ReloadApi reload_api(loop, api, supervisor, options.config_file);
  supervisor.on_change([&] {
    children_api.on_change();
    reload_api.on_change();
  });
  supervisor.on_hangup([&] { reload_api.reload_file(); });
  add_deploy_routes(api, supervisor);
  EventsApi events_api(loop, api, supervisor.history());
  MetricsApi metrics_api(loop, api, supervisor, std::move(metrics_listener));
  ResizeApi resize_api(api, supervisor.resources());
  UsageApi usage_api(api, supervisor);
  std::optional<control::ControlServer> server;
  if (auto listener = keeper.get_fd("control")) server.emplace(loop, std::move(*listener), api);
  supervisor.on_finish([&](const core::Finish& finish) {
    std::fputs(core::describe(finish.receipt).c_str(), stderr);
    service_api.finish(finish.receipt);
    events_api.finish();
  });
  loop.run();
  supervisor.on_change(nullptr);
  supervisor.on_hangup(nullptr);
}

}  // namespace

Error exec_keeper(const config::Service& config, const RunOptions& options) {
  if (needs_user_namespace(config)) {
    if (auto entered = enter_user_namespace(); !entered) return entered.error();
  }
  const std::string& service = config.name();
  const ServicePaths paths = service_paths(service);
  const std::string keeper = program_directory() + "/pillion-keeper";
  const std::string self = program_directory() + "/pillion";
  ::setenv("PILLION_ACCEPTED", (paths.accepted_directory() + "/" + service + ".toml").c_str(), 1);
  std::vector<std::string> words = {
      keeper, "--name", service,     "--runtime-dir",    paths.runtime,
      "--",   self,     "supervise", options.config_file};
  const bool is_container = ::getpid() == 1;
  const bool has_terminal = ::isatty(STDIN_FILENO) == 1;
  if (options.lends_terminal && !has_terminal) return Error("--tty needs a terminal on stdin");
  if (options.lends_terminal || (has_terminal && is_container)) {
    words.emplace_back("--tty");
  } else if (options.echoes_output || ::isatty(STDOUT_FILENO) == 1 || is_container) {
    // Who starts it on a terminal wants to see what happens; so does who reads a container's logs.
    words.emplace_back("--echo");
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(keeper.c_str(), argv.data());
  return Error::from_errno("cannot start " + keeper, errno);
}

int run_supervisor(const RunOptions& options) {
  log::configure(log::options_from_environment("pillion"));
  ::signal(SIGPIPE, SIG_IGN);
  Loop loop;  // outlives everything that watches on it
  auto keeper = KeeperClient::from_environment();
  if (!keeper) {
    log::error("{}", keeper.error().message());
    return kExitSetUp;
  }
  int exit_code = kExitSetUp;
  const char* accepted = accepted_file(**keeper);
  auto service = load(accepted != nullptr ? accepted : options.config_file, exit_code);
  if (!service) return fail_set_up(**keeper, service.error(), exit_code);
  auto metrics_listener = open_metrics_listener(**keeper, service->settings);
  if (!metrics_listener) return fail_set_up(**keeper, metrics_listener.error(), kExitSetUp);
  const ServicePaths paths = service_paths(service->name());
  AcceptedFile file(std::move(*service), paths);
  if (accepted == nullptr) {  // a restart needs nothing of the disk
    if (auto kept = file.write(); !kept) {
      return fail_set_up(**keeper, kept.error(), kExitSetUp);
    }
  }
  if (options.is_abandoning) {
    return abandon_service(loop, **keeper, completed(file.service()), paths);
  }
  Supervisor supervisor(loop, **keeper, std::move(file), paths, options);
  if (auto started = supervisor.start(); !started) {
    return fail_set_up(**keeper, started.error(), kExitSetUp);
  }
  serve(loop, **keeper, supervisor, options, std::move(*metrics_listener));
  return 0;
}

}  // namespace pillion::supervisor::host
