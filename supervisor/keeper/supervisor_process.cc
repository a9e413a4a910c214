// The keeper's one special child: started, watched, started again, and given up in the end.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "supervisor/keeper/channel.h"
#include "supervisor/keeper/keeper.h"

namespace pillion::keeper {
namespace {

constexpr int kExitSetup = 71;
constexpr int kExitGaveUp = 70;
constexpr int kCrashesMax = 12;
constexpr int kTrialCrashesMax = 3;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kStableNs = 60 * kSecond;
constexpr std::uint64_t kTrialNs = 10 * kSecond;
constexpr std::uint64_t kAbandonNs = 30 * kSecond;
constexpr std::uint64_t kBackoffMinMs = 50;
constexpr std::uint64_t kBackoffMaxMs = 2000;

}  // namespace

bool Keeper::spawn_supervisor() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return false;
  const pid_t pid = ::fork();
  if (pid == 0) become_supervisor(pair[1]);
  ::close(pair[1]);
  if (pid < 0) {
    std::fprintf(stderr, "pillion: cannot start the supervisor: %s\n", std::strerror(errno));
    ::close(pair[0]);
    return false;
  }
  watch_supervisor(pid, pair[0]);
  return true;
}

void Keeper::watch_supervisor(pid_t pid, int socket) {
  ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK);
  socket_ = socket;
  supervisor_ = pid;
  supervisor_started_ns_ = now_ns(CLOCK_MONOTONIC);
  respawn_at_ns_ = 0;
  alive_until_ns_ = 0;
  if (is_abandoning_) finish_deadline_ns_ = supervisor_started_ns_ + kAbandonNs;
  has_said_hello_ = false;
  ledger_.mark_all_unreported();
  queue_.mark_all_unsent();
}

// The first one may be there already; it waits for the answer to its first question.
bool Keeper::start_supervisor() {
  if (options_.first_supervisor == 0 || options_.first_socket < 0) return spawn_supervisor();
  watch_supervisor(options_.first_supervisor, options_.first_socket);
  reap();  // it may have ended before anybody listened for that
  return true;
}

// Before we end ourselves, so that it does not complain about its lost keeper.
void Keeper::end_first_supervisor() const {
  if (options_.first_supervisor == 0) return;
  ::kill(options_.first_supervisor, SIGKILL);
  while (::waitpid(options_.first_supervisor, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// In the forked child: a session of its own, so that a Ctrl-C on the terminal reaches the keeper
// only, which passes it on once.
void Keeper::become_supervisor(int socket) const {
  const pid_t keeper = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != keeper) ::_exit(kExitSetup);
  ::setsid();
  // An executable of an earlier version comes first: the socket's new number may be its own.
  const bool goes_back = is_trial_ && crashes_ >= kTrialCrashesMax && previous_supervisor_ >= 0;
  const int program = goes_back ? ::fcntl(previous_supervisor_, F_DUPFD, kSupervisorFd + 1) : -1;
  if (socket == kSupervisorFd) {
    ::fcntl(socket, F_SETFD, 0);
  } else {
    ::dup2(socket, kSupervisorFd);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  char* arguments[kSupervisorArgumentsMax + 2] = {};
  int count = 0;
  for (; count < kSupervisorArgumentsMax && options_.supervisor_argv[count]; ++count) {
    arguments[count] = options_.supervisor_argv[count];
  }
  static char abandon[] = "--abandon";
  if (is_abandoning_) arguments[count] = abandon;
  if (program >= 0) {
    ::fcntl(program, F_SETFD, FD_CLOEXEC);
    ::syscall(SYS_execveat, program, "", arguments, environ, AT_EMPTY_PATH);
  }
  ::execvp(arguments[0], arguments);
  std::fprintf(stderr, "pillion: cannot start %s: %s\n", arguments[0], std::strerror(errno));
  ::_exit(kExitSetup);
}

void Keeper::on_supervisor_exit(int wait_status) {
  on_supervisor_readable();  // a Finish may still be in the socket
  const bool has_said_hello = has_said_hello_;
  supervisor_ = 0;
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
  alive_until_ns_ = 0;
  has_said_hello_ = false;
  if (is_finishing_) return;
  if (is_abandoning_) {
    is_finishing_ = true;
    exit_code_ = kExitGaveUp;
    return;
  }
  if (upgrade_ == Upgrade::WaitingForSupervisor) {
    ++restarts_;
    return;  // the loop goes on with it
  }
  if (!has_said_hello && WIFEXITED(wait_status) && restarts_ == 0) {
    is_finishing_ = true;  // it could not even start, and said why
    exit_code_ = WEXITSTATUS(wait_status) != 0 ? WEXITSTATUS(wait_status) : kExitSetup;
    return;
  }
  note_crash(wait_status, now_ns(CLOCK_MONOTONIC));
}

void Keeper::note_crash(int wait_status, std::uint64_t now) {
  const std::uint64_t age = now - supervisor_started_ns_;
  if (age > kTrialNs) is_trial_ = false;
  if (age > kStableNs) crashes_ = 0;
  ++crashes_;
  ++restarts_;
  backoff_ms_ = crashes_ == 1 ? kBackoffMinMs : backoff_ms_ * 2;
  if (backoff_ms_ > kBackoffMaxMs) backoff_ms_ = kBackoffMaxMs;
  respawn_at_ns_ = now + backoff_ms_ * 1'000'000;
  std::fprintf(stderr,
               "pillion: the supervisor of \"%s\" ended unexpectedly (%s %d); starting it again\n",
               options_.service, WIFSIGNALED(wait_status) ? "signal" : "exit code",
               WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
  if (is_trial_ && crashes_ == kTrialCrashesMax && previous_supervisor_ >= 0) {
    std::fprintf(stderr,
                 "pillion: the new supervisor of \"%s\" does not work; going back to the one "
                 "before the upgrade\n",
                 options_.service);
  }
  if (crashes_ >= kCrashesMax) give_up();
}

// Nothing decides any longer. The children end, and one last supervisor takes down what only it
// knows how to: groups, namespaces, rules, mounts.
void Keeper::give_up() {
  std::fprintf(stderr, "pillion: the supervisor of \"%s\" crashed %d times in a row; giving up\n",
               options_.service, crashes_);
  ledger_.kill_all();
  is_abandoning_ = true;
  respawn_at_ns_ = 1;
}

void Keeper::on_supervisor_readable() {
  while (socket_ >= 0) {
    Message message;
    int fd = -1;
    const int error = receive_message(socket_, &message, &fd);
    if (error == EBADMSG) continue;
    if (error == EAGAIN) return;
    if (error != 0) {  // the other end is closed; SIGCHLD tells the rest
      ::close(socket_);
      socket_ = -1;
      return;
    }
    answer(message, fd);
  }
}

}  // namespace pillion::keeper
