// `pillion start`: a child of a running service, or a whole service in the background: by systemd
// where that runs, else as a process of its own session.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "config/check.h"
#include "config/parse_units.h"
#include "config/system_lookup.h"
#include "runtime/fd.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/child_call.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/service_status.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/host/service_paths.h"
#include "supervisor/host/volumes.h"

namespace pillion::supervisor::cli {

namespace {

constexpr const char* kConfigDirectory = "/etc/pillion/";
constexpr auto kPollPeriod = std::chrono::milliseconds(20);
constexpr Duration kStartTimeout = std::chrono::minutes(10);

bool is_file(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

bool runs_systemd() { return ::access("/run/systemd/system", F_OK) == 0 && ::geteuid() == 0; }

// The unit reads the file of that name in /etc/pillion.
int start_unit(const std::string& name) {
  const std::string unit = "pillion@" + name + ".service";
  ::execlp("systemctl", "systemctl", "start", unit.c_str(), nullptr);
  return complain(Error::from_errno("cannot run systemctl", errno));
}

// Becomes `pillion run FILE` in a session of its own; returns in the parent only.
Result<pid_t> start_in_background(const std::string& file, const std::string& output) {
  auto log = open_file(output, O_WRONLY | O_CREAT | O_TRUNC, 0640);
  if (!log) return fail(log.error());
  auto input = open_file("/dev/null", O_RDONLY);
  if (!input) return fail(input.error());
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("cannot fork");
  if (pid > 0) return pid;
  ::setsid();
  ::dup2(input->get(), STDIN_FILENO);
  ::dup2(log->get(), STDOUT_FILENO);
  ::dup2(log->get(), STDERR_FILENO);
  ::execl("/proc/self/exe", "pillion", "run", file.c_str(), nullptr);
  ::_exit(kExitSetUp);
}

// Until it is ready, or has ended before it was.
int wait_until_ready(const std::string& name, pid_t pid, Duration timeout,
                     const std::string& output) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::string why = "nothing was heard of it";
  while (std::chrono::steady_clock::now() < deadline) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid) {
      const auto text = read_file(output);
      fmt::print(stderr, "{}pillion: {} ended before it was ready; {} has the rest\n",
                 text ? *text : "", name, output);
      return WIFEXITED(status) ? std::max(WEXITSTATUS(status), 1) : 128 + WTERMSIG(status);
    }
    const auto report = fetch_status(name);
    if (report && report->service.is_ready) {
      fmt::print("{} is ready\n", name);
      return kExitOk;
    }
    if (report) why = report->service.why;
    std::this_thread::sleep_for(kPollPeriod);
  }
  return complain(
      Error(fmt::format("{} is not ready yet: {}; it goes on in the background", name, why)));
}

struct StartOptions {
  ChildWish wish;
  bool does_not_wait = false;
};

int start_service(const StartOptions& options) {
  const std::string name = service_name_of(options.wish.name);
  const auto running = fetch_status(name);
  if (running) {
    fmt::print("{} runs already\n", name);
    return kExitOk;
  }
  if (running.error().errno_value() != ENOENT) return complain(running.error());
  const bool is_named = name == options.wish.name;
  const std::string file = is_named ? kConfigDirectory + name + ".toml" : options.wish.name;
  if (!is_file(file)) {
    return complain(
        Error(fmt::format("there is no {}; name the service's file, or put it there", file)));
  }
  if (is_named && runs_systemd()) return start_unit(name);
  const auto loaded = config::load_service(file, config::system_load_options());
  if (!loaded.diagnostics.empty()) {
    fmt::print(stderr, "{}", config::format_text(loaded.diagnostics, wants_colour(STDERR_FILENO)));
  }
  if (!loaded.value) return kExitConfig;
  const std::string log = host::service_paths(name).log;
  if (auto made = host::make_directories(log, 0750); !made) return complain(made.error());
  const std::string output = log + "/pillion.out";
  const auto pid = start_in_background(std::filesystem::absolute(file), output);
  if (!pid) return complain(pid.error());
  if (options.does_not_wait) {
    fmt::print("{} starts in the background; its messages go to {}\n", name, output);
    return kExitOk;
  }
  return wait_until_ready(name, *pid, options.wish.timeout.value_or(kStartTimeout), output);
}

}  // namespace

void add_start(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<StartOptions>();  // shared with the callbacks
  CLI::App* start =
      app.add_subcommand("start", "Start a service in the background, or a child that was stopped");
  start->add_option("NAME", options->wish.name, "The service, or its file")->required();
  start->add_option("CHILD", options->wish.child, "Only this child of a running service");
  start->add_flag("--no-wait", options->does_not_wait, "Do not wait until it is ready");
  start
      ->add_option_function<std::string>(
          "--timeout",
          [options](const std::string& text) {
            if (const auto timeout = config::parse_duration(text)) options->wish.timeout = *timeout;
          },
          "Of the waiting (10m)")
      ->check(check_duration);
  start->add_flag("--json", options->wish.is_json, "For a child: the answer as JSON");
  start->callback([options, &exit_code] {
    options->wish.waits = !options->does_not_wait;
    exit_code =
        options->wish.child.empty() ? start_service(*options) : ask_for("start", options->wish);
  });
}

}  // namespace pillion::supervisor::cli
