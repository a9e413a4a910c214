#include "supervisor/host/run.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
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
#include "supervisor/keeper/keeper.h"

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

Result<void> complete_options(RunOptions& options) {
  const bool is_container = ::getpid() == 1;
  const bool has_terminal = ::isatty(STDIN_FILENO) == 1;
  if (options.lends_terminal && !has_terminal) return fail("--tty needs a terminal on stdin");
  options.lends_terminal = options.lends_terminal || (has_terminal && is_container);
  // Who starts it on a terminal wants to see what happens; so does who reads a container's logs.
  options.echoes_output = !options.lends_terminal &&
                          (options.echoes_output || is_container || ::isatty(STDOUT_FILENO) == 1);
  return {};
}

std::vector<std::string> supervisor_command(const RunOptions& options) {
  std::vector<std::string> words = {program_directory() + "/pillion", "supervise",
                                    options.config_file};
  if (options.lends_terminal) words.emplace_back("--tty");
  if (options.echoes_output) words.emplace_back("--echo");
  return words;
}

// What ps(1) shows. Without the privilege for it, the name of the command that forked us stays.
void show_command_line(const RunOptions& options) {
  static std::string words;  // the kernel reads it for as long as we live
  for (const std::string& word : supervisor_command(options)) words += word + '\0';
  const auto begin = reinterpret_cast<unsigned long>(words.data());
  // The new place lies below the old one: its begin first.
  if (::prctl(PR_SET_MM, PR_SET_MM_ARG_START, begin, 0, 0) < 0) return;
  static_cast<void>(::prctl(PR_SET_MM, PR_SET_MM_ARG_END, begin + words.size(), 0, 0));
}

// When the machine lacks memory, keeper and supervisor go last; children get a value of their own.
// Needs a privilege, and does without.
void protect_from_lack_of_memory() {
  const Fd file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (file) static_cast<void>(write_all(file.get(), "-900"));
}

// In the forked child, as the keeper does it before it executes a supervisor: nothing inherited but
// the socket, no signal of the keeper's terminal, and no life without the keeper.
void become_supervisor(pid_t keeper, int socket, const RunOptions& options) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != keeper) ::_exit(kExitSetUp);
  ::setsid();
  ::signal(SIGCHLD, SIG_DFL);
  ::signal(SIGTTOU, SIG_IGN);
  ::dup2(socket, keeper::kSupervisorFd);
  ::close_range(keeper::kSupervisorFd + 1, ~0u, 0);
  ::setenv(keeper::kSocketVariable, std::to_string(keeper::kSupervisorFd).c_str(), 1);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  show_command_line(options);
}

// Returns only when that fails.
Error exec_keeper(const std::string& service, const std::string& runtime_directory,
                  const RunOptions& options, pid_t supervisor, int socket) {
  std::vector<std::string> words = {program_directory() + "/pillion-keeper",
                                    "--name",
                                    service,
                                    "--runtime-dir",
                                    runtime_directory,
                                    "--supervisor",
                                    std::to_string(supervisor),
                                    "--supervisor-socket",
                                    std::to_string(socket),
                                    "--"};
  for (std::string& word : supervisor_command(options)) words.push_back(std::move(word));
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv(argv[0], argv.data());
  return Error::from_errno("cannot start " + words[0], errno);
}

}  // namespace

Result<int> run_service(config::Service service, RunOptions options) {
  if (needs_user_namespace(service)) {
    if (auto entered = enter_user_namespace(); !entered) return fail(entered.error());
  }
  if (auto completed = complete_options(options); !completed) return fail(completed.error());
  const ServicePaths paths = service_paths(service.name());
  const std::string accepted = paths.accepted_directory() + "/" + service.name() + ".toml";
  ::setenv("PILLION_ACCEPTED", accepted.c_str(), 1);
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0) {
    return fail_errno("cannot create the keeper's channel");
  }
  protect_from_lack_of_memory();
  const pid_t keeper = ::getpid();
  const pid_t supervisor = ::fork();
  if (supervisor < 0) return fail_errno("cannot create the supervisor's process");
  if (supervisor == 0) {
    become_supervisor(keeper, pair[1], options);
    return run_supervisor(options, std::move(service));
  }
  ::close(pair[1]);
  const Error error = exec_keeper(service.name(), paths.runtime, options, supervisor, pair[0]);
  ::kill(supervisor, SIGKILL);
  ::waitpid(supervisor, nullptr, 0);
  return fail(error);
}

int run_supervisor(const RunOptions& options, std::optional<config::Service> read) {
  log::configure(log::options_from_environment("pillion"));
  ::signal(SIGPIPE, SIG_IGN);
  ::mallopt(M_ARENA_MAX, 1);  // our threads are few and allocate little
  Loop loop;                  // outlives everything that watches on it
  auto keeper = KeeperClient::from_environment();
  if (!keeper) {
    log::error("{}", keeper.error().message());
    return kExitSetUp;
  }
  int exit_code = kExitSetUp;
  const char* accepted = accepted_file(**keeper);
  Result<config::Service> service =
      read && accepted == nullptr
          ? std::move(*read)
          : load(accepted != nullptr ? accepted : options.config_file, exit_code);
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
