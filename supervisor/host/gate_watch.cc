#include "supervisor/host/gate_watch.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fcntl.h>
#include <pcre2.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kFilePeriod = std::chrono::milliseconds(100);
constexpr std::size_t kMatchedBytesMax = 4096;

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
  file_ = gate.file;
  if (gate.log_line) compile(*gate.log_line);
}

// The child may have a /tmp of its own. Without the right to look there, ours must do.
void GateWatch::on_executed(int pid) {
  if (!file_ || !on_seen_) return;
  const std::string root = "/proc/" + std::to_string(pid) + "/root";
  const std::string path = (::access((root + "/").c_str(), F_OK) == 0 ? root : "") + *file_;
  timer_.emplace(loop_);
  timer_->start(Duration::zero(), kFilePeriod, [this, path] {
    if (::access(path.c_str(), F_OK) == 0) see();
  });
}

void GateWatch::compile(const std::string& pattern) {
  int error = 0;
  std::size_t offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), 0,
                                   &error, &offset, nullptr);
  if (code == nullptr) {
    log::error("cannot use log_line = \"{}\": no regular expression at offset {}", pattern, offset);
    return;
  }
  pattern_ = std::shared_ptr<pcre2_code>(code, pcre2_code_free);
}

void GateWatch::on_line(std::string_view line) {
  if (!pattern_) return;
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  const int found = pcre2_match(pattern_.get(), reinterpret_cast<PCRE2_SPTR>(line.data()),
                                std::min(line.size(), kMatchedBytesMax), 0, 0, match, nullptr);
  pcre2_match_data_free(match);
  if (found >= 0) see();
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
