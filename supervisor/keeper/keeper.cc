#include "supervisor/keeper/keeper.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "supervisor/keeper/channel.h"

namespace pillion::keeper {
namespace {

constexpr int kExitSetup = 71;
constexpr int kExitGaveUp = 70;
constexpr int kSupervisorFd = 3;
constexpr int kCrashesMax = 12;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kStableNs = 60 * kSecond;
constexpr std::uint64_t kBackoffMinMs = 50;
constexpr std::uint64_t kBackoffMaxMs = 5000;
constexpr std::uint64_t kFinishNs = 5 * kSecond;

std::uint64_t now_ns(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * kSecond +
         static_cast<std::uint64_t>(time.tv_nsec);
}

void watched_signals(sigset_t* set) {
  ::sigemptyset(set);
  for (const int signo : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) ::sigaddset(set, signo);
}

}  // namespace

int Keeper::run() {
  if (!set_up()) return kExitSetup;
  if (!spawn_supervisor()) {
    remove_runtime_directory(directory_);
    return kExitSetup;
  }
  const int code = loop();
  tear_down();
  return code;
}

bool Keeper::set_up() {
  // Nothing inherited reaches a child by accident.
  ::syscall(SYS_close_range, 3u, ~0u, static_cast<unsigned>(CLOSE_RANGE_CLOEXEC));
  if (!open_runtime_directory(options_.runtime_directory, options_.service, &directory_)) {
    return false;
  }
  fds_.put("control", directory_.control);
  if (::getpid() != 1) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  ::signal(SIGCHLD, SIG_DFL);  // an inherited SIG_IGN would throw exit statuses away
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  watched_signals(&set);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  char number[8];
  std::snprintf(number, sizeof number, "%d", kSupervisorFd);
  if (signals_ < 0 || ::setenv(kSocketVariable, number, 1) < 0) {
    std::fprintf(stderr, "pillion: cannot set up signals: %s\n", std::strerror(errno));
    return false;
  }
  return true;
}

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
  ::fcntl(pair[0], F_SETFL, ::fcntl(pair[0], F_GETFL) | O_NONBLOCK);
  socket_ = pair[0];
  supervisor_ = pid;
  supervisor_started_ns_ = now_ns(CLOCK_MONOTONIC);
  has_said_hello_ = false;
  ledger_.mark_all_unreported();
  return true;
}

// In the forked child: a session of its own, so that a Ctrl-C on the terminal reaches the keeper
// only, which passes it on once.
void Keeper::become_supervisor(int socket) const {
  const pid_t keeper = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != keeper) ::_exit(kExitSetup);
  ::setsid();
  if (socket == kSupervisorFd) {
    ::fcntl(socket, F_SETFD, 0);
  } else {
    ::dup2(socket, kSupervisorFd);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvp(options_.supervisor_argv[0], options_.supervisor_argv);
  std::fprintf(stderr, "pillion: cannot start %s: %s\n", options_.supervisor_argv[0],
               std::strerror(errno));
  ::_exit(kExitSetup);
}

int Keeper::loop() {
  for (;;) {
    pollfd watched[2] = {{signals_, POLLIN, 0}, {socket_, POLLIN, 0}};
    if (has_unasked()) watched[1].events |= POLLOUT;
    const int ready = ::poll(watched, 2, poll_timeout_ms());
    if (ready < 0 && errno != EINTR) return kExitGaveUp;
    if (ready > 0 && watched[1].revents != 0) on_supervisor_readable();
    if (ready > 0 && watched[0].revents != 0) on_signals();
    send_unasked();
    const std::uint64_t now = now_ns(CLOCK_MONOTONIC);
    if (is_finishing_ && supervisor_ == 0) return exit_code_;
    if (is_finishing_ && now >= finish_deadline_ns_) {
      ::kill(supervisor_, SIGKILL);
      finish_deadline_ns_ = now + kSecond;
    }
    if (!is_finishing_ && supervisor_ == 0) {
      if (crashes_ >= kCrashesMax) {
        std::fprintf(stderr,
                     "pillion: the supervisor of \"%s\" crashed %d times in a row; giving up\n",
                     options_.service, crashes_);
        return kExitGaveUp;
      }
      if (now >= respawn_at_ns_ && !spawn_supervisor()) respawn_at_ns_ = now + kSecond;
    }
  }
}

int Keeper::poll_timeout_ms() const {
  std::uint64_t at = 0;
  if (is_finishing_) at = finish_deadline_ns_;
  if (!is_finishing_ && supervisor_ == 0) at = respawn_at_ns_;
  if (at == 0) return -1;
  const std::uint64_t now = now_ns(CLOCK_MONOTONIC);
  return at <= now ? 0 : static_cast<int>((at - now) / 1'000'000 + 1);
}

void Keeper::on_signals() {
  signalfd_siginfo info{};
  while (::read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo != SIGCHLD) pending_signals_ |= 1u << info.ssi_signo;
  }
  reap();
}

void Keeper::reap() {
  int wait_status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &wait_status, WNOHANG)) > 0;) {
    if (pid == supervisor_) {
      on_supervisor_exit(wait_status);
    } else {
      ledger_.on_exit(pid, wait_status, now_ns(CLOCK_BOOTTIME));
    }
  }
}

void Keeper::on_supervisor_exit(int wait_status) {
  on_supervisor_readable();  // a Finish may still be in the socket
  supervisor_ = 0;
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
  if (is_finishing_) return;
  if (!has_said_hello_ && WIFEXITED(wait_status) && restarts_ == 0) {
    is_finishing_ = true;  // it could not even start, and said why
    exit_code_ = WEXITSTATUS(wait_status) != 0 ? WEXITSTATUS(wait_status) : kExitSetup;
    return;
  }
  const std::uint64_t now = now_ns(CLOCK_MONOTONIC);
  if (now - supervisor_started_ns_ > kStableNs) crashes_ = 0;
  ++crashes_;
  ++restarts_;
  backoff_ms_ = crashes_ == 1 ? kBackoffMinMs : backoff_ms_ * 2;
  if (backoff_ms_ > kBackoffMaxMs) backoff_ms_ = kBackoffMaxMs;
  respawn_at_ns_ = now + backoff_ms_ * 1'000'000;
  std::fprintf(stderr,
               "pillion: the supervisor of \"%s\" ended unexpectedly (%s %d); starting it again\n",
               options_.service, WIFSIGNALED(wait_status) ? "signal" : "exit code",
               WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
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

void Keeper::answer(Message& message, int fd) {
  int reply_fd = -1;
  switch (message.type) {
    case MessageType::Hello:
      has_said_hello_ = true;
      message.error = message.version == kProtocolVersion ? 0 : EPROTO;
      message.version = kProtocolVersion;
      message.value = restarts_;
      message.pid = ::getpid();
      break;
    case MessageType::FdPut:
    case MessageType::FdGet:
    case MessageType::FdList:
    case MessageType::FdRemove:
      message.error = answer_fds(message, fd, &reply_fd);
      if (message.type == MessageType::FdPut && message.error == 0) fd = -1;
      break;
    case MessageType::Finish:
      is_finishing_ = true;
      exit_code_ = static_cast<int>(message.value);
      finish_deadline_ns_ = now_ns(CLOCK_MONOTONIC) + kFinishNs;
      message.error = 0;
      break;
    default: message.error = answer_children(message);
  }
  if (fd >= 0) ::close(fd);
  // A supervisor waits for each answer, so the socket cannot be full of them.
  send_message(socket_, message, reply_fd);
}

int Keeper::answer_fds(Message& message, int fd, int* reply_fd) {
  if (message.type == MessageType::FdPut) {
    return fd < 0 ? EBADF : fds_.put(message.name, fd);
  }
  if (message.type == MessageType::FdRemove) return fds_.remove(message.name);
  if (message.type == MessageType::FdGet) {
    *reply_fd = fds_.get(message.name);
    return *reply_fd < 0 ? ENOENT : 0;
  }
  const char* name = fds_.name_at(message.value);
  if (name == nullptr) return ENOENT;
  std::snprintf(message.name, sizeof message.name, "%s", name);
  return 0;
}

int Keeper::answer_children(Message& message) {
  switch (message.type) {
    case MessageType::ChildRegister:
      message.value = ledger_.add(message);
      return message.value == 0 ? ENOSPC : 0;
    case MessageType::ChildSpawned:
      return ledger_.bind(message.value, message.pid, message.start_time);
    case MessageType::ChildAcknowledge: return ledger_.remove(message.value);
    case MessageType::ChildList: {
      const Message* record = ledger_.at(message.value);
      if (record == nullptr) return ENOENT;
      const std::uint32_t sequence = message.sequence;
      message = *record;
      message.type = MessageType::ChildList;
      message.sequence = sequence;
      return 0;
    }
    default: return ENOSYS;
  }
}

bool Keeper::has_unasked() const {
  return has_said_hello_ && (pending_signals_ != 0 || ledger_.next_unreported() != nullptr);
}

void Keeper::send_unasked() {
  if (socket_ < 0 || !has_said_hello_) return;
  for (int signo = 1; signo < 32; ++signo) {
    if ((pending_signals_ & (1u << signo)) == 0) continue;
    Message message;
    message.type = MessageType::Signal;
    message.value = signo;
    if (send_message(socket_, message, -1) != 0) return;
    pending_signals_ &= ~(1u << signo);
  }
  while (const Message* record = ledger_.next_unreported()) {
    Message message = *record;
    message.type = MessageType::ChildExited;
    message.sequence = 0;
    if (send_message(socket_, message, -1) != 0) return;
    ledger_.mark_reported(record->value);
  }
}

// The service is over: whatever the supervisor left (it crashed too often) ends with it.
void Keeper::tear_down() {
  ledger_.kill_all();
  const std::uint64_t deadline = now_ns(CLOCK_MONOTONIC) + kFinishNs;
  while (ledger_.has_running() && now_ns(CLOCK_MONOTONIC) < deadline) {
    pollfd watched{signals_, POLLIN, 0};
    ::poll(&watched, 1, 100);
    on_signals();
  }
  remove_runtime_directory(directory_);
}

}  // namespace pillion::keeper
