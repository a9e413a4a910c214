#include "supervisor/cli/top_screen.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace pillion::supervisor::cli {
namespace {

constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";
constexpr std::string_view kHome = "\x1b[H";
constexpr std::string_view kClearToLineEnd = "\x1b[K";
constexpr std::string_view kClearToEnd = "\x1b[J";

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0 && errno != EINTR) return;
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
}

sigset_t watched_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) ::sigaddset(&set, number);
  return set;
}

}  // namespace

Result<TopScreen> TopScreen::open() {
  termios before{};
  if (::tcgetattr(STDIN_FILENO, &before) != 0) return fail_errno("standard input is no terminal");
  const sigset_t set = watched_signals();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  Fd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return fail_errno("cannot watch signals");
  termios raw = before;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  write_all(kEnter);
  return TopScreen(std::move(signals), before);
}

TopScreen::TopScreen(TopScreen&& other) noexcept
    : signals_(std::move(other.signals_)), before_(other.before_) {}

TopScreen::~TopScreen() {
  if (!signals_) return;
  write_all(kLeave);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

TopScreen::Size TopScreen::size() const {
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0) return {};
  return {window.ws_col, window.ws_row};
}

void TopScreen::draw(std::string_view text) {
  const Size now = size();
  std::string out(kHome);
  for (unsigned row = 0; row < now.rows && !text.empty(); ++row) {
    const auto end = std::min(text.find('\n'), text.size());
    if (row > 0) out += "\r\n";
    out += cut_line(text.substr(0, end), now.columns);
    out += kClearToLineEnd;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  out += kClearToEnd;
  write_all(out);
}

TopScreen::Wake TopScreen::wait(Duration timeout, char& key) {
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {signals_.get(), POLLIN, 0}};
  const int count = ::poll(fds, 2, static_cast<int>(std::max<long>(milliseconds, 0)));
  if (count <= 0) return Wake::Timeout;
  if (fds[1].revents != 0) {
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof info) != sizeof info) return Wake::Timeout;
    return info.ssi_signo == SIGWINCH ? Wake::Resized : Wake::Quit;
  }
  // A terminal that is gone reads as its end.
  return ::read(STDIN_FILENO, &key, 1) == 1 ? Wake::Key : Wake::Quit;
}

std::string cut_line(std::string_view line, std::size_t columns) {
  std::string out;
  std::size_t visible = 0;
  bool has_colour = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      const auto end = std::min(line.find('m', i), line.size() - 1);
      out += line.substr(i, end - i + 1);
      has_colour = true;
      i = end;
      continue;
    }
    // The later bytes of a UTF-8 sequence take no column.
    const bool is_tail = (static_cast<unsigned char>(line[i]) & 0xc0u) == 0x80u;
    if (!is_tail && ++visible > columns) break;
    out += line[i];
  }
  if (has_colour) out += "\x1b[0m";
  return out;
}

}  // namespace pillion::supervisor::cli
