#include "supervisor/host/app_terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>

namespace pillion::supervisor::host {
namespace {

constexpr char kStoredName[] = "terminal";

void make_raw(int terminal) {
  termios settings{};
  if (::tcgetattr(terminal, &settings) < 0) return;
  ::cfmakeraw(&settings);
  ::tcsetattr(terminal, TCSANOW, &settings);
}

}  // namespace

AppTerminal::AppTerminal(Loop& loop, KeeperClient& keeper, std::function<void()> on_hangup)
    : keeper_(keeper), on_hangup_(std::move(on_hangup)), retry_(loop) {}

Result<std::unique_ptr<AppTerminal>> AppTerminal::create(Loop& loop, KeeperClient& keeper,
                                                         std::function<void()> on_hangup) {
  std::unique_ptr<AppTerminal> terminal(new AppTerminal(loop, keeper, std::move(on_hangup)));
  if (auto opened = terminal->open(loop); !opened) {
    return fail(opened.error().wrap("cannot lend the terminal to the app"));
  }
  return terminal;
}

Result<void> AppTerminal::open(Loop& loop) {
  auto ours = open_file("/proc/self/fd/0", O_RDWR | O_NONBLOCK | O_NOCTTY);
  if (!ours) return fail(ours.error());
  ours_ = std::move(*ours);
  auto stored = keeper_.get_fd(kStoredName);
  const bool is_new = !stored;
  if (is_new) {
    stored = Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    if (!*stored || ::grantpt(stored->get()) < 0 || ::unlockpt(stored->get()) < 0) {
      return fail_errno("cannot create a pseudo-terminal");
    }
    if (auto put = keeper_.put_fd(kStoredName, stored->get()); !put) return put;
  }
  master_ = std::move(*stored);
  is_app_gone_ = is_new;
  resize();
  make_raw(ours_.get());
  ours_poll_ = std::make_unique<Poll>(loop, ours_.get());
  master_poll_ = std::make_unique<Poll>(loop, master_.get());
  ours_poll_->start(0, [this](int ready, int error) {
    if (error != 0 || (ready & kReadable) != 0) on_input();
    if (ours_poll_ && (ready & kWritable) != 0) flush_output();
    watch();
  });
  master_poll_->start(0, [this](int ready, int error) {
    if (error != 0 || (ready & kReadable) != 0) on_output();
    if ((ready & kWritable) != 0) flush_input();
    watch();
  });
  watch();
  return {};
}

Result<void> AppTerminal::attach(SpawnPlan& plan, int log) {
  Fd peer(::ioctl(master_.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!peer) return fail_errno("cannot open the app's side of its terminal");
  if (plan.credentials) {
    static_cast<void>(::fchown(peer.get(), plan.credentials->uid, static_cast<gid_t>(-1)));
  }
  plan.standard_input = plan.standard_output = plan.standard_error = peer.get();
  plan.takes_terminal = true;
  plan.owned.push_back(std::move(peer));
  copy_to(log);
  is_app_gone_ = false;
  watch();
  return {};
}

void AppTerminal::copy_to(int log) { log_.reset(::fcntl(log, F_DUPFD_CLOEXEC, 3)); }

void AppTerminal::resize() {
  winsize size{};
  if (::ioctl(ours_.get(), TIOCGWINSZ, &size) == 0) ::ioctl(master_.get(), TIOCSWINSZ, &size);
}

// Reads only where there is room for what comes; writes where there is something to write.
void AppTerminal::watch() {
  if (!ours_poll_) return;
  const auto events = [](bool reads, bool writes) {
    return (reads ? kReadable : 0) | (writes ? kWritable : 0);
  };
  const int of_ours = events(to_app_.size() < kBufferMax, !to_us_.empty());
  const int of_master = is_app_gone_ ? 0 : events(to_us_.size() < kBufferMax, !to_app_.empty());
  ours_poll_->set_events(of_ours);
  master_poll_->set_events(of_master);
}

void AppTerminal::on_input() {
  char buffer[4096];
  const ssize_t count = ::read(ours_.get(), buffer, sizeof buffer);
  if (count > 0) {
    to_app_.append(buffer, static_cast<std::size_t>(count));
    flush_input();
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
    hang_up();
  }
}

void AppTerminal::on_output() {
  char buffer[4096];
  const ssize_t count = ::read(master_.get(), buffer, sizeof buffer);
  if (count > 0) {
    const std::string_view bytes(buffer, static_cast<std::size_t>(count));
    log_copy(bytes);
    to_us_ += bytes;
    flush_output();
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
    is_app_gone_ = true;  // until the next generation is attached
    to_app_.clear();
  }
}

void AppTerminal::flush_input() {
  const ssize_t count = ::write(master_.get(), to_app_.data(), to_app_.size());
  if (count > 0) to_app_.erase(0, static_cast<std::size_t>(count));
}

void AppTerminal::flush_output() {
  const ssize_t count = ::write(ours_.get(), to_us_.data(), to_us_.size());
  if (count > 0) to_us_.erase(0, static_cast<std::size_t>(count));
}

// The log's reader is this same thread: what its pipe has no room for is left out.
void AppTerminal::log_copy(std::string_view bytes) {
  std::string text(bytes);
  std::erase(text, '\r');
  pollfd watched{log_.get(), POLLOUT, 0};
  if (!log_ || text.empty() || ::poll(&watched, 1, 0) != 1) return;
  static_cast<void>(!::write(log_.get(), text.data(), text.size()));
}

// Without its last holder the pseudo-terminal hangs up: the kernel tells the app's session.
void AppTerminal::hang_up() {
  ours_poll_.reset();
  master_poll_.reset();
  keeper_.remove_fd(kStoredName);
  master_.reset();
  const auto on_hangup = std::move(on_hangup_);
  if (on_hangup) on_hangup();
}

void AppTerminal::remove() {
  if (!master_) return;
  for (int rounds = 0; rounds < 64 && !is_app_gone_; ++rounds) {
    const std::size_t before = to_us_.size();
    on_output();
    if (to_us_.size() == before) break;
  }
  flush_output();
  ours_poll_.reset();
  master_poll_.reset();
  keeper_.remove_fd(kStoredName);
  master_.reset();
}

}  // namespace pillion::supervisor::host
