#include "supervisor/cli/terminal_relay.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace pillion::supervisor::cli {

namespace {

void copy_size(int from, int to) {
  winsize size{};
  if (::ioctl(from, TIOCGWINSZ, &size) == 0) static_cast<void>(::ioctl(to, TIOCSWINSZ, &size));
}

// The terminal on stdin without echo, lines and signals, for as long as this lives.
class RawMode {
 public:
  RawMode() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    is_set_ = true;
    termios raw = before_;
    ::cfmakeraw(&raw);
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  }
  ~RawMode() {
    if (is_set_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

 private:
  termios before_{};
  bool is_set_ = false;
};

Result<Fd> watch_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGWINCH, SIGTERM, SIGHUP}) ::sigaddset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno("cannot watch signals");
  return fd;
}

// False at the end of input, or when the other side is closed.
bool copy_some(int from, int to) {
  char buffer[4096];
  const ssize_t count = ::read(from, buffer, sizeof buffer);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (count <= 0) return false;
  return write_all(to, std::string_view(buffer, static_cast<std::size_t>(count))).has_value();
}

}  // namespace

Result<PseudoTerminal> open_pseudo_terminal() {
  PseudoTerminal terminal;
  terminal.ours.reset(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.ours || ::grantpt(terminal.ours.get()) != 0 ||
      ::unlockpt(terminal.ours.get()) != 0) {
    return fail_errno("cannot open a pseudo-terminal");
  }
  // By descriptor: the path is of our mount namespace.
  terminal.theirs.reset(::ioctl(terminal.ours.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.theirs) return fail_errno("cannot open a pseudo-terminal");
  copy_size(STDIN_FILENO, terminal.ours.get());
  return terminal;
}

bool take_terminal(int fd) {
  if (::setsid() < 0 || ::ioctl(fd, TIOCSCTTY, 0) != 0) return false;
  return ::dup2(fd, STDIN_FILENO) >= 0 && ::dup2(fd, STDOUT_FILENO) >= 0 &&
         ::dup2(fd, STDERR_FILENO) >= 0;
}

Result<void> relay_terminal(int terminal) {
  auto signals = watch_signals();
  if (!signals) return fail(signals.error());
  const RawMode raw;
  pollfd watched[] = {
      {STDIN_FILENO, POLLIN, 0}, {terminal, POLLIN, 0}, {signals->get(), POLLIN, 0}};
  for (;;) {
    if (::poll(watched, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return fail_errno("cannot wait for the terminal");
    }
    if (watched[2].revents != 0) {
      signalfd_siginfo info{};
      if (::read(signals->get(), &info, sizeof info) == sizeof info &&
          info.ssi_signo != static_cast<unsigned>(SIGWINCH)) {
        return {};  // closing the terminal hangs up whoever uses it
      }
      copy_size(STDIN_FILENO, terminal);
    }
    // EIO: everybody has closed the other side.
    if (watched[1].revents != 0 && !copy_some(terminal, STDOUT_FILENO)) return {};
    if (watched[0].revents != 0 && !copy_some(STDIN_FILENO, terminal)) watched[0].fd = -1;
  }
}

}  // namespace pillion::supervisor::cli
