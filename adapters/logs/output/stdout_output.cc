#include "adapters/logs/output/stdout_output.h"

#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "adapters/logs/encode/indented.h"
#include "runtime/log.h"

namespace pillion::logs {

StdoutOutput::StdoutOutput(Loop& loop, int fd, bool is_pretty, OnDone on_done)
    : loop_(loop), fd_(fd), on_done_(std::move(on_done)), is_pretty_(is_pretty) {
  struct stat facts;
  is_regular_ = ::fstat(fd, &facts) == 0 && (S_ISREG(facts.st_mode) || S_ISCHR(facts.st_mode));
  if (!is_regular_) poll_.emplace(loop, fd);
}

void StdoutOutput::deliver(Batch& batch) {
  queue_.push_back(&batch);
  if (queue_.size() == 1) {
    // Not before deliver() has returned.
    loop_.defer([this] { write_some(); });
  }
}

// The descriptor is shared with others, so it stays blocking: at most PIPE_BUF bytes after poll()
// said writable never block.
ssize_t StdoutOutput::write_once(std::string_view bytes) {
  if (is_regular_) return ::write(fd_, bytes.data(), bytes.size());
  pollfd ready{fd_, POLLOUT, 0};
  if (::poll(&ready, 1, 0) <= 0 || (ready.revents & (POLLOUT | POLLERR | POLLHUP)) == 0) {
    errno = EAGAIN;
    return -1;
  }
  return ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
}

void StdoutOutput::write_some() {
  while (!queue_.empty()) {
    const std::string_view bytes = front_bytes().substr(written_);
    if (bytes.empty()) {
      finish_front();
      continue;
    }
    const ssize_t count = write_once(bytes);
    if (count >= 0) {
      written_ += static_cast<std::size_t>(count);
      trouble_.clear();
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN && poll_) {
      if (!is_polling_) poll_->start(kWritable, [this](int, int) { write_some(); });
      is_polling_ = true;
      return;
    }
    // A closed reader or a full disk: the records stay pending, and so in the files.
    if (trouble_.empty()) log::error("cannot write to stdout: {}", std::strerror(errno));
    trouble_ = std::strerror(errno);
    if (poll_) poll_->stop();
    return;
  }
  if (is_polling_) poll_->stop();
  is_polling_ = false;
}

std::string_view StdoutOutput::front_bytes() {
  const RecordBuffer& records = queue_.front()->records;
  if (!is_pretty_) return records.bytes();
  if (pretty_.empty()) {
    for (std::size_t i = 0; i < records.record_count(); ++i) {
      append_indented(pretty_, records.record(i));
    }
  }
  return pretty_;
}

void StdoutOutput::finish_front() {
  pretty_.clear();
  Batch& batch = *queue_.front();
  queue_.pop_front();
  written_ = 0;
  on_done_(batch);
}

}  // namespace pillion::logs
