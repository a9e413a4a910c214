#include "supervisor/host/gate_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kFilePeriod = std::chrono::milliseconds(100);
constexpr std::size_t kMatchedBytesMax = 4096;  // std::regex recurses per character

}  // namespace

GateWatch::GateWatch(Loop& loop, const config::Gate& gate, std::function<void()> on_seen)
    : loop_(loop), on_seen_(std::move(on_seen)) {
  if (gate.notification_fd) {
    if (auto pipe = make_pipe()) {
      pipe_ = std::move(*pipe);
      static_cast<void>(set_nonblocking(pipe_.read_end.get(), true));
      poll_.emplace(loop_, pipe_.read_end.get());
      poll_->start(kReadable, [this](int, int) { read_pipe(); });
    }
  }
  if (gate.file) {
    timer_.emplace(loop_);
    timer_->start(Duration::zero(), kFilePeriod, [this, path = *gate.file] {
      if (::access(path.c_str(), F_OK) == 0) see();
    });
  }
  if (gate.log_line) {
    try {
      pattern_.emplace(*gate.log_line, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      log::error("cannot use log_line = \"{}\": {}", *gate.log_line, error.what());
    }
  }
}

void GateWatch::on_line(std::string_view line) {
  if (!pattern_) return;
  line = line.substr(0, kMatchedBytesMax);
  if (std::regex_search(line.begin(), line.end(), *pattern_)) see();
}

void GateWatch::read_pipe() {
  char buffer[256];
  const ssize_t count = ::read(pipe_.read_end.get(), buffer, sizeof buffer);
  if (count == 0) poll_.reset();
  if (count > 0 && std::memchr(buffer, '\n', static_cast<std::size_t>(count)) != nullptr) see();
}

void GateWatch::see() {
  poll_.reset();
  timer_.reset();
  pattern_.reset();
  const auto on_seen = std::move(on_seen_);
  if (on_seen) on_seen();
}

}  // namespace pillion::supervisor::host
