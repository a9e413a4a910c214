#include "supervisor/host/gate_watch.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fcntl.h>
#include <pcre2.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/log.h"

namespace pillion::supervisor::host {
namespace {

constexpr auto kFilePeriod = std::chrono::milliseconds(100);
constexpr std::size_t kMatchedBytesMax = 4096;
constexpr std::size_t kPipeLookMax = 64 * 1024;

// How many bytes are in the pipe, and whether a newline is among them; they stay there.
struct PipeLook {
  ssize_t count = 0;
  bool has_newline = false;
};

PipeLook look_into(int pipe) {
  PipeLook look;
  auto copy = make_pipe(O_NONBLOCK);
  if (!copy) return {-1, false};
  look.count = ::tee(pipe, copy->write_end.get(), kPipeLookMax, SPLICE_F_NONBLOCK);
  std::string bytes(look.count > 0 ? static_cast<std::size_t>(look.count) : 0, '\0');
  if (bytes.empty()) return look;
  if (::read(copy->read_end.get(), bytes.data(), bytes.size()) < 0) return {-1, false};
  look.has_newline = bytes.find('\n') != std::string::npos;
  return look;
}

}  // namespace

GateWatch::GateWatch(Loop& loop, const config::Gate& gate, std::function<void()> on_seen, Fd kept)
    : loop_(loop), on_seen_(std::move(on_seen)) {
  pipe_.read_end = std::move(kept);
  if (gate.notification_fd && !pipe_.read_end) {
    if (auto pipe = make_pipe()) pipe_ = std::move(*pipe);
  }
  if (gate.notification_fd && pipe_.read_end) {
    static_cast<void>(set_nonblocking(pipe_.read_end.get(), true));
    poll_.emplace(loop_, pipe_.read_end.get());
    poll_->start(kReadable, [this](int, int) { read_pipe(); });
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
  const PipeLook look = look_into(pipe_.read_end.get());
  if (look.has_newline) return see();
  if (look.count == 0) poll_.reset();  // the child has closed it
  char buffer[4096];
  for (ssize_t left = look.count; left > 0;) {  // what is before the newline means nothing
    const auto size = std::min(sizeof buffer, static_cast<std::size_t>(left));
    const ssize_t count = ::read(pipe_.read_end.get(), buffer, size);
    if (count <= 0) break;
    left -= count;
  }
}

void GateWatch::see() {
  poll_.reset();
  timer_.reset();
  pattern_.reset();
  const auto on_seen = std::move(on_seen_);
  if (on_seen) on_seen();
}

}  // namespace pillion::supervisor::host
