// What a process that does not end was doing: from /proc's text, and from a real process.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "supervisor/usage/process_look.h"

using namespace pillion::supervisor::usage;
using namespace std::chrono_literals;

namespace {

std::string status_text(const std::string& state, const std::string& ignored,
                        const std::string& caught = "0", const std::string& namespaces = "7") {
  return "Name:\tworker\nState:\t" + state + "\nPid:\t7\nThreads:\t5\nSigPnd:\t0\nShdPnd:\t4000\n" +
         "SigBlk:\t0\nSigIgn:\t" + ignored + "\nSigCgt:\t" + caught + "\nNSpid:\t" + namespaces +
         "\n";
}

}  // namespace

TEST_CASE("an ignored stop signal is named as the reason") {
  const auto look = parse_process(status_text("S (sleeping)", "0000000000004000"), "futex_wait");
  REQUIRE(look);
  CHECK(look->ignores(SIGTERM));
  CHECK_FALSE(look->ignores(SIGINT));
  CHECK(describe_unresponsive("app", *look, SIGTERM, 14s) ==
        "app had not ended 14 s after SIGTERM: SIGTERM is ignored by it, 5 threads, the main "
        "thread sleeps in futex_wait");
  CHECK(fields_of(*look, SIGTERM).at("signal_state") == "ignored");
  CHECK(fields_of(*look, SIGTERM).at("wchan") == "futex_wait");
}

TEST_CASE("each way of not reacting has its words") {
  const auto text = [](const std::string& status) {
    return describe_unresponsive("app", *parse_process(status, "0"), SIGTERM, 1500ms);
  };
  CHECK(text(status_text("R (running)", "0", "4000"))
            .find("1.5 s after SIGTERM: SIGTERM is handled "
                  "by it, 5 threads, the main thread runs") != std::string::npos);
  CHECK(text(status_text("S (sleeping)", "0", "0", "900\t1")).find("PID 1 of a namespace") !=
        std::string::npos);
  CHECK(text(status_text("T (stopped)", "0")).find("waits until it is continued") !=
        std::string::npos);
  CHECK(text(status_text("D (disk sleep)", "0")).find("uninterruptible sleep") !=
        std::string::npos);
}

TEST_CASE("only an uninterruptible sleep is stuck") {
  CHECK(describe_stuck(*parse_process(status_text("S (sleeping)", "0"), "x")).empty());
  CHECK(describe_stuck(*parse_process(status_text("D (disk sleep)", "0"), "io_schedule"))
            .starts_with("pid 7 (worker) is in an uninterruptible sleep in io_schedule: the"));
  CHECK_FALSE(parse_process("", ""));
  CHECK_FALSE(parse_process("Pid:\tx\n", ""));
}

TEST_CASE("leftovers are counted and named") {
  const auto look = parse_process(status_text("S (sleeping)", "0"), "poll");
  CHECK(describe_leftovers("app", {*look}) ==
        "app has ended but left 1 process: worker (pid 7) sleeps in poll");
}

TEST_CASE("a real process that ignores its signal is seen to do so") {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGTERM, SIG_IGN);
    for (;;) ::pause();
  }
  std::optional<ProcessLook> look;
  for (int i = 0; i < 1000; ++i) {
    look = look_at(child);
    if (look && look->ignores(SIGTERM) && look->state == 'S') break;
    ::usleep(1000);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  REQUIRE(look);
  CHECK(look->ignores(SIGTERM));
  CHECK(look->pid == child);
  CHECK_FALSE(look_at(child));
}
