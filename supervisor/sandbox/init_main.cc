// pillion-init: process 1 of a pid namespace. Reaps what loses its parent there, and ends, and with
// it the namespace, when its standard input does: the write end is held by the keeper. It starts
// nothing, decides nothing and has no privilege. libc only, linked statically: it is small.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace {

constexpr int kExitUsage = 64;
constexpr int kExitSetup = 71;

void reap() {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

int serve(int signals) {
  for (;;) {
    pollfd watched[2] = {{STDIN_FILENO, POLLIN, 0}, {signals, POLLIN, 0}};
    if (::poll(watched, 2, -1) < 0 && errno != EINTR) return kExitSetup;
    signalfd_siginfo info{};
    while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    }
    reap();
    if (watched[0].revents != 0) return 0;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("pillion-init %s\n", PILLION_VERSION);
    return 0;
  }
  if (::getpid() != 1) {
    std::fprintf(stderr, "pillion-init is process 1 of a pid namespace, started by pillion\n");
    return kExitUsage;
  }
  // Nobody may look into it, or stop it, by having its user.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t ended;
  ::sigemptyset(&ended);
  ::sigaddset(&ended, SIGCHLD);
  const int signals = ::signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
  return signals < 0 ? kExitSetup : serve(signals);
}
