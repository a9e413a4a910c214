// `pillion exec`: runs a command beside a child: in its namespaces, as its user, with its
// environment, capabilities and working directory. What it does not get are the child's seccomp
// filter and Landlock rules, which cannot be read back, and its cgroup, unless asked for.
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/child_process.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/service_status.h"
#include "supervisor/cli/terminal_relay.h"

namespace pillion::supervisor::cli {

namespace {

// As docker and podman: so that the command's own codes are not mistaken for ours.
constexpr int kExitCannotEnter = 125;
constexpr int kExitCannotExecute = 126;
constexpr int kExitNotFound = 127;

struct ExecOptions {
  std::string name;
  std::string child;
  std::vector<std::string> command;
  std::vector<std::string> environment;
  std::string user;
  std::string directory;
  bool joins_cgroup = false;
  bool wants_terminal = false;
  bool refuses_terminal = false;
};

// After fork, in a process of one thread. Prints why and ends.
[[noreturn]] void give_up(const char* what) {
  const int reason = errno;
  fmt::print(stderr, "pillion: cannot {}: {}\n", what, std::strerror(reason));
  ::_exit(kExitCannotEnter);
}

void join_cgroups(const ChildProcess& child) {
  for (const std::string& directory : child.cgroups) {
    auto file = open_file(directory + "/cgroup.procs", O_WRONLY);
    if (file && ::write(file->get(), "0", 1) == 1) continue;
    // A hierarchy that the child shares with everybody is none that limits it.
    if (errno != EACCES && errno != ENOENT && errno != EROFS) give_up("join the child's cgroup");
  }
}

void enter_namespaces(const ChildProcess& child) {
  // Root's rights hold for all of them, those of the child's user namespace only for what it owns.
  const bool is_user_last = ::geteuid() == 0;
  for (const bool is_second : {false, true}) {
    for (const auto& [kind, fd] : child.namespaces) {
      if ((kind == CLONE_NEWUSER) != (is_second == is_user_last)) continue;
      if (::setns(fd.get(), kind) != 0) give_up("enter the child's namespaces");
    }
  }
  if (child.namespaces.empty()) return;
  if (::fchdir(child.root.get()) != 0 || ::chroot(".") != 0) give_up("enter the child's root");
}

void set_capabilities(std::uint64_t permitted, std::uint64_t ambient) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; ++i) {
    data[i].permitted = data[i].effective = static_cast<__u32>(permitted >> (32 * i));
    data[i].inheritable = static_cast<__u32>(ambient >> (32 * i));
  }
  if (::syscall(SYS_capset, &header, data) != 0) give_up("set the child's capabilities");
  for (unsigned long number = 0; number < 64; ++number) {
    if ((ambient >> number & 1) != 0) {
      ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0);
    }
  }
}

void take_identity(const ChildProcess& child) {
  if (::geteuid() != 0 && !child.has_user_namespace) return;  // we are the child's user already
  for (unsigned long number = 0; number < 64; ++number) {
    if ((child.bounding >> number & 1) == 0) ::prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
  }
  ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
  const bool has_groups = ::setgroups(child.groups.size(), child.groups.data()) == 0;
  // A user namespace that an ordinary user made has no say over groups.
  if (!has_groups && !child.has_user_namespace) give_up("set the groups");
  if (::setresgid(child.gid, child.gid, child.gid) != 0) give_up("set the group");
  if (::setresuid(child.uid, child.uid, child.uid) != 0) give_up("set the user");
  set_capabilities(child.permitted, child.ambient);
  if (child.has_no_new_privileges) ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

[[noreturn]] void run_command(const ChildProcess& child, const ExecOptions& options) {
  take_identity(child);
  const std::string& directory =
      options.directory.empty() ? child.working_directory : options.directory;
  if (::chdir(directory.c_str()) != 0) {
    if (!options.directory.empty()) give_up("change to that directory");
    static_cast<void>(!::chdir("/"));
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::clearenv();
  for (const auto* list : {&child.environment, &options.environment}) {
    for (const std::string& entry : *list) ::putenv(const_cast<char*>(entry.c_str()));
  }
  std::vector<char*> argv;
  for (const std::string& word : options.command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  const int reason = errno;
  fmt::print(stderr, "pillion: cannot execute {}: {}\n", options.command[0], std::strerror(reason));
  ::_exit(reason == ENOENT ? kExitNotFound : kExitCannotExecute);
}

// A process that enters, and then makes the one that runs the command: a new pid namespace holds
// only for children. CLONE_PARENT makes that one our own child.
Result<pid_t> start(const ChildProcess& child, const ExecOptions& options,
                    const PseudoTerminal* terminal) {
  auto channel = make_pipe();
  if (!channel) return fail(channel.error());
  const pid_t entering = ::fork();
  if (entering < 0) return fail_errno("cannot fork");
  if (entering == 0) {
    if (options.joins_cgroup) join_cgroups(child);
    enter_namespaces(child);
    const long pid = ::syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, 0);
    if (pid < 0) give_up("fork");
    if (pid == 0) {
      if (terminal && !take_terminal(terminal->theirs.get())) give_up("take the terminal");
      run_command(child, options);
    }
    const pid_t number = static_cast<pid_t>(pid);
    ::_exit(::write(channel->write_end.get(), &number, sizeof number) == sizeof number ? 0 : 1);
  }
  channel->write_end.reset();
  pid_t pid = 0;
  const bool is_started =
      ::read(channel->read_end.get(), &pid, sizeof pid) == static_cast<ssize_t>(sizeof pid);
  int status = 0;
  ::waitpid(entering, &status, 0);
  if (!is_started) return fail(Error("", EPERM));  // it has said why
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return kExitCannotEnter;
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

Result<void> change_user(ChildProcess& child, const std::string& user) {
  const passwd* entry = ::getpwnam(user.c_str());
  char* end = nullptr;
  const unsigned long number = std::strtoul(user.c_str(), &end, 10);
  if (!entry && (end == user.c_str() || *end != '\0')) {
    return fail(fmt::format("there is no user \"{}\" on this machine; a number will do too", user));
  }
  child.uid = entry ? entry->pw_uid : static_cast<uid_t>(number);
  child.gid = entry ? entry->pw_gid : child.gid;
  child.groups.clear();
  child.ambient = 0;
  child.permitted = child.uid == 0 ? child.bounding : 0;
  child.has_no_new_privileges = child.has_no_new_privileges && child.uid != 0;
  return {};
}

Result<ChildProcess> find_child(const ExecOptions& options) {
  const auto report = fetch_status(options.name);
  if (!report) return fail(report.error());
  const std::string& service = report->service.name;
  std::string names;
  for (const core::ChildStatus& child : report->service.children) {
    if (child.name != options.child) {
      names += (names.empty() ? "" : ", ") + child.name;
      continue;
    }
    if (child.pid != 0) return inspect_process(child.pid);
    return fail(fmt::format("{} of {} has no process now, it is {}; `pillion why {} {}` says more",
                            child.name, service, core::to_string(child.state), service,
                            child.name));
  }
  return fail(fmt::format("{} has no child \"{}\"; there are: {}", service, options.child, names));
}

int execute(const ExecOptions& options) {
  auto child = find_child(options);
  if (child && !options.user.empty()) {
    if (auto changed = change_user(*child, options.user); !changed) child = fail(changed.error());
  }
  if (!child) {
    const int code = complain(child.error());
    return code == kExitNotRunning ? code : kExitCannotEnter;
  }
  const bool has_terminal = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
  std::optional<PseudoTerminal> terminal;
  if (options.wants_terminal || (has_terminal && !options.refuses_terminal)) {
    auto opened = open_pseudo_terminal();
    if (!opened) {
      complain(opened.error());
      return kExitCannotEnter;
    }
    terminal = std::move(*opened);
    if (const char* kind = ::getenv("TERM"))
      child->environment.push_back(fmt::format("TERM={}", kind));
  }
  const auto pid = start(*child, options, terminal ? &*terminal : nullptr);
  if (!pid) {
    if (!pid.error().message().empty()) complain(pid.error());
    return kExitCannotEnter;
  }
  if (terminal) {
    terminal->theirs.reset();
    const auto relayed = relay_terminal(terminal->ours.get());
    if (!relayed) complain(relayed.error());
    terminal->ours.reset();
  }
  return wait_for(*pid);
}

}  // namespace

void add_exec(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ExecOptions>();  // shared with the callback
  CLI::App* exec = app.add_subcommand("exec", "Run a command beside a child, as that child");
  exec->add_option("NAME", options->name, "The service")->required();
  exec->add_option("CHILD", options->child, "The child")->required();
  exec->add_option("COMMAND", options->command, "After --: program and arguments")->required();
  exec->add_option("-e,--env", options->environment, "KEY=VALUE, more than once if need be")
      ->check([](const std::string& entry) {
        const std::size_t equals = entry.find('=');
        return equals == std::string::npos || equals == 0 ? "\"" + entry + "\" is not KEY=VALUE"
                                                          : std::string();
      })
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  exec->add_option("-u,--user", options->user, "Another user than the child's");
  exec->add_option("-C,--directory", options->directory, "Another one than the child's");
  exec->add_flag("--cgroup", options->joins_cgroup,
                 "In the child's cgroup: its limits count, and it ends with the child");
  exec->add_flag("-t,--tty", options->wants_terminal, "With a terminal even without one here");
  exec->add_flag("-T,--no-tty", options->refuses_terminal, "Without a terminal");
  exec->positionals_at_end();
  exec->callback([options, &exit_code] {
    // The library leaves it in when it comes after a positional argument.
    if (options->command.front() == "--") options->command.erase(options->command.begin());
    if (options->command.empty()) throw CLI::RequiredError("COMMAND");
    exit_code = execute(*options);
  });
}

}  // namespace pillion::supervisor::cli
