#include "adapters/logs/inspect/line_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace pillion::logs {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;

}  // namespace

Result<bool> LineReader::next(std::string& text) {
  if (std::exchange(has_ahead_, false)) {
    text.swap(ahead_);
  } else {
    const auto more = next_line(text);
    if (!more || !*more) return more;
  }
  number_ = line_count_;
  if (!group_ || text.empty()) return true;
  group_->begin(text);
  for (std::uint32_t count = 1;; ++count) {
    const auto more = next_line(ahead_);
    if (!more) return more;
    if (!*more) return true;
    if (count >= group_->rules().lines_max ||
        text.size() + 1 + ahead_.size() > group_->rules().bytes_max || !group_->continues(ahead_)) {
      has_ahead_ = true;
      return true;
    }
    text.append("\n").append(ahead_);
  }
}

Result<bool> LineReader::next_line(std::string& line) {
  line.clear();
  bool has_any = false;
  for (;;) {
    if (at_ == buffer_.size()) {
      buffer_.resize(kReadBytes);
      at_ = 0;
      ssize_t count;
      do {
        count = ::read(fd_, buffer_.data(), buffer_.size());
      } while (count < 0 && errno == EINTR);
      const int error = errno;
      buffer_.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
      if (count < 0) return fail(std::strerror(error));
      if (count == 0) return has_any;
    }
    line_count_ += !std::exchange(has_any, true);
    const std::size_t newline = buffer_.find('\n', at_);
    const std::size_t end = std::min(newline, buffer_.size());
    const std::size_t room = line_bytes_max_ + 1 - line.size();
    line.append(buffer_, at_, std::min(end - at_, room));
    at_ = newline == std::string::npos ? end : newline + 1;
    if (newline != std::string::npos) return true;
  }
}

}  // namespace pillion::logs
