// spawn() makes siblings, so each test forks once: the fork spawns, the test is the parent of both.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>

#include "supervisor/host/spawn.h"

using namespace pillion;
using namespace pillion::supervisor::host;

namespace {

struct Outcome {
  std::string failure;  // as describe_failure says; empty = exec succeeded
  int failure_code = 0;
  std::string output;
  int wait_status = -1;
};

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

// In the fork: spawns and writes "pid code failure" to `report`.
[[noreturn]] void spawn_and_report(SpawnPlan& plan, int report) {
  auto child = spawn(plan);
  if (!child) ::_exit(1);
  SpawnReport spawned;
  read_spawn_report(child->error_pipe.get(), spawned);
  const auto& failure = spawned.failure;
  const std::string text = std::to_string(child->pid) + " " +
                           std::to_string(failure ? exit_code_of(*failure) : 0) + " " +
                           (failure ? describe_failure(plan, *failure) : "");
  static_cast<void>(!::write(report, text.data(), text.size()));
  ::_exit(0);
}

Outcome run(SpawnPlan plan) {
  auto report = make_pipe();
  auto output = make_pipe();
  plan.standard_output = output->write_end.get();
  plan.standard_error = output->write_end.get();
  plan.drops_privileges = plan.drops_privileges && ::geteuid() == 0;
  const pid_t spawner = ::fork();
  if (spawner == 0) spawn_and_report(plan, report->write_end.get());
  report->write_end.reset();
  output->write_end.reset();
  Outcome outcome;
  const std::string text = read_all(report->read_end.get());
  outcome.output = read_all(output->read_end.get());
  int ignored = 0;
  REQUIRE(::waitpid(spawner, &ignored, 0) == spawner);
  const auto first = text.find(' ');
  const auto second = text.find(' ', first + 1);
  REQUIRE(second != std::string::npos);
  outcome.failure_code = std::stoi(text.substr(first + 1));
  outcome.failure = text.substr(second + 1);
  REQUIRE(::waitpid(std::stoi(text), &outcome.wait_status, 0) > 0);
  return outcome;
}

SpawnPlan shell(const std::string& script) {
  SpawnPlan plan;
  plan.argv = {"/bin/sh", "-c", script};
  return plan;
}

}  // namespace

TEST_CASE("a spawned program is a child of our parent and ends with its own code") {
  const auto outcome = run(shell("echo $PPID; exit 7"));
  CHECK(outcome.failure.empty());
  CHECK(outcome.output == std::to_string(::getpid()) + "\n");
  CHECK(WEXITSTATUS(outcome.wait_status) == 7);
}

TEST_CASE("nothing is inherited but what the plan lists") {
  auto plan = shell("echo $A; echo ${HOME-none}; umask; ls /proc/self/fd | wc -l");
  plan.env = {{"A", "b"}, {"PATH", "/usr/bin:/bin"}};
  plan.umask = 027;
  CHECK(run(std::move(plan)).output == "b\nnone\n0027\n4\n");
}

TEST_CASE("listeners come from descriptor 3 on with the child's own pid") {
  auto null_fd = open_file("/dev/null", 0);
  auto zero_fd = open_file("/dev/zero", 0);
  auto plan = shell(
      "[ $LISTEN_PID = $$ ] && echo $LISTEN_FDS $LISTEN_FDNAMES; readlink /proc/$$/fd/3 "
      "/proc/$$/fd/4");
  plan.env = {{"PATH", "/usr/bin:/bin"}};
  plan.listeners = {{"inbound", zero_fd->get()}, {"admin", null_fd->get()}};
  CHECK(run(std::move(plan)).output == "2 inbound:admin\n/dev/zero\n/dev/null\n");
}

TEST_CASE("a failure before exec names its step") {
  SpawnPlan missing;
  missing.argv = {"/opt/missing"};
  auto outcome = run(std::move(missing));
  CHECK(outcome.failure == "exec(\"/opt/missing\"): No such file or directory");
  CHECK(outcome.failure_code == 127);

  SpawnPlan directory;
  directory.argv = {"/etc"};
  outcome = run(std::move(directory));
  CHECK(outcome.failure_code == 126);

  auto plan = shell("true");
  plan.working_directory = "/opt/x";
  outcome = run(std::move(plan));
  CHECK(outcome.failure == "chdir(\"/opt/x\"): No such file or directory");
  CHECK(outcome.failure_code == 71);
}

TEST_CASE("a child gets its user, group and nothing of our privileges", "[root]") {
  if (::geteuid() != 0) {
    WARN("skipped: needs root");
    return;
  }
  auto plan = shell("id -u; id -g; id -G; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status");
  plan.env = {{"PATH", "/usr/bin:/bin"}};
  plan.credentials = Credentials{4711, 4712, {4713}};
  CHECK(run(std::move(plan)).output ==
        "4711\n4712\n4712 4713\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n"
        "NoNewPrivs:\t1\n");
  plan = shell("grep -E 'CapEff|CapAmb' /proc/self/status");
  plan.env = {{"PATH", "/usr/bin:/bin"}};
  plan.credentials = Credentials{4711, 4712, {}};
  plan.capabilities = {0};  // CAP_CHOWN
  CHECK(run(std::move(plan)).output == "CapEff:\t0000000000000001\nCapAmb:\t0000000000000001\n");
}

TEST_CASE("resource limits are set") {
  auto plan = shell("ulimit -n; ulimit -c");
  plan.resource_limits = {{RLIMIT_NOFILE, 77}, {RLIMIT_CORE, 0}};
  CHECK(run(std::move(plan)).output == "77\n0\n");
}
