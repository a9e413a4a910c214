#include "proxy/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>

#include "runtime/json_text.h"

namespace pillion::proxy {
namespace {

void append_number(std::string& out, std::uint64_t value) {
  char digits[20];
  const auto result = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, static_cast<std::size_t>(result.ptr - digits));
}

// Milliseconds with three decimals.
void append_milliseconds(std::string& out, std::int64_t nanoseconds) {
  const auto microseconds =
      static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 0)) / 1000;
  append_number(out, microseconds / 1000);
  const auto rest = static_cast<unsigned>(microseconds % 1000);
  const char decimals[] = {'.', static_cast<char>('0' + rest / 100),
                           static_cast<char>('0' + rest / 10 % 10),
                           static_cast<char>('0' + rest % 10)};
  out.append(decimals, sizeof decimals);
}

bool is_plain(std::string_view text) {
  for (const char c : text) {
    if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f) return false;  // and all above 0x7f
  }
  return true;
}

void append_quoted(std::string& out, std::string_view text) {
  if (is_plain(text)) {
    out.append(1, '"').append(text).append(1, '"');
  } else {
    append_json_string(out, text);
  }
}

Result<void> write_fully(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return fail_errno("cannot write the access log");
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Result<Fd> open_log(const std::string& path) {
  if (path == "stdout" || path == "stderr") {
    const int fd = fcntl(path == "stdout" ? 1 : 2, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return fail_errno("cannot write the access log to " + path);
    return Fd(fd);
  }
  return open_file(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
}

}  // namespace

// ---- AccessFormatter ----------------------------------------------------------------------------

void AccessFormatter::append_timestamp(std::string& out, std::int64_t wall_ns) {
  const std::int64_t second = wall_ns / 1'000'000'000;
  if (second != second_) {
    second_ = second;
    const auto seconds = static_cast<std::time_t>(second);
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    std::strftime(second_text_, sizeof second_text_, "%Y-%m-%dT%H:%M:%S", &parts);
  }
  const auto milliseconds = static_cast<unsigned>(wall_ns / 1'000'000 % 1000);
  const char decimals[] = {'.', static_cast<char>('0' + milliseconds / 100),
                           static_cast<char>('0' + milliseconds / 10 % 10),
                           static_cast<char>('0' + milliseconds % 10), 'Z'};
  out.append(second_text_, 19).append(decimals, sizeof decimals);
}

void AccessFormatter::append_json(std::string& out, const AccessRecord& record) {
  out.append("{\"timestamp\":\"");
  append_timestamp(out, record.wall_ns);
  out.append("\",\"direction\":\"").append(record.direction).append("\"");
  if (!record.method.empty()) {
    out.append(",\"method\":");
    append_quoted(out, record.method);
    out.append(",\"path\":");
    append_quoted(out, record.path);
    out.append(",\"authority\":");
    append_quoted(out, record.authority);
  }
  if (!record.method.empty() || record.status != 0) {
    out.append(",\"status\":");
    append_number(out, static_cast<std::uint64_t>(record.status));
  }
  out.append(",\"protocol\":\"").append(record.protocol).append("\",\"bytes_received\":");
  append_number(out, record.bytes_received);
  out.append(",\"bytes_sent\":");
  append_number(out, record.bytes_sent);
  out.append(",\"duration_ms\":");
  append_milliseconds(out, record.duration_ns);
  out.append(",\"upstream_ms\":");
  append_milliseconds(out, record.upstream_ns);
  out.append(",\"proxy_ms\":");
  append_milliseconds(out, record.duration_ns - record.upstream_ns);
  out.append(",\"upstream\":");
  append_quoted(out, record.upstream);
  out.append(",\"upstream_address\":\"").append(record.upstream_address);
  out.append("\",\"downstream_address\":\"").append(record.downstream_address).append("\"");
  if (!record.request_id.empty()) {
    out.append(",\"request_id\":");
    append_quoted(out, record.request_id);
  }
  if (!record.tls_version.empty()) {
    out.append(",\"downstream_tls_version\":\"").append(record.tls_version);
    out.append("\",\"downstream_peer_uri_san\":");
    append_quoted(out, record.peer_uri);
  }
  out.append(",\"response_flags\":\"").append(record.flags);
  out.append("\",\"response_code_details\":");
  append_quoted(out, record.details);
  out.append(",\"attempts\":");
  append_number(out, record.attempts);
  out.append(record.is_connection_reused ? ",\"reused_connection\":true}\n"
                                         : ",\"reused_connection\":false}\n");
}

void AccessFormatter::append_text(std::string& out, const AccessRecord& record) {
  append_timestamp(out, record.wall_ns);
  out.append(1, ' ').append(record.direction).append(1, ' ').append(record.downstream_address);
  out.append(" -> ").append(record.upstream_address.empty() ? "-" : record.upstream_address);
  out.append(1, ' ');
  if (record.method.empty()) {
    out.append(record.protocol);
  } else {
    std::string quoted;
    append_json_string(quoted, record.path);
    out.append(record.method).append(1, ' ').append(record.authority).append(1, ' ').append(quoted);
  }
  out.append(1, ' ');
  append_number(out, static_cast<std::uint64_t>(record.status));
  out.append(1, ' ');
  append_milliseconds(out, record.duration_ns);
  out.append("ms ").append(record.flags.empty() ? "-" : record.flags).append(1, ' ');
  out.append(record.details).append(1, ' ').append(record.request_id).append(1, '\n');
}

void AccessFormatter::append(std::string& out, const AccessRecord& record) {
  if (format_ == config::AccessLogFormat::Json) {
    append_json(out, record);
  } else {
    append_text(out, record);
  }
}

// ---- AccessLog ----------------------------------------------------------------------------------

Result<std::unique_ptr<AccessLog>> AccessLog::create(const config::AccessLog& config) {
  auto file = open_log(config.path);
  if (!file) return fail(file.error().wrap("cannot open the access log"));
  return std::unique_ptr<AccessLog>(
      new AccessLog(std::move(*file), static_cast<std::size_t>(config.buffer.value)));
}

AccessLog::AccessLog(Fd file, std::size_t buffer_bytes_max)
    : file_(std::move(file)), buffer_bytes_max_(buffer_bytes_max), thread_([this] { run(); }) {}

AccessLog::~AccessLog() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void AccessLog::submit(std::string& lines) {
  if (lines.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (queued_bytes_ + lines.size() > buffer_bytes_max_) {
      dropped_.fetch_add(static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n')),
                         std::memory_order_relaxed);
      lines.clear();
      return;
    }
    queued_bytes_ += lines.size();
    full_.push_back(std::move(lines));
    lines.clear();
    if (!empty_.empty()) {
      lines = std::move(empty_.back());
      empty_.pop_back();
    }
  }
  wake_.notify_one();
}

void AccessLog::run() {
  pthread_setname_np(pthread_self(), "access-log");
  std::vector<std::string> batch;
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return is_ending_ || !full_.empty(); });
    if (full_.empty()) return;
    batch.swap(full_);
    lock.unlock();
    std::size_t written = 0;
    for (std::string& lines : batch) {
      written += lines.size();
      if (!write_fully(file_.get(), lines)) {
        dropped_.fetch_add(static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n')),
                           std::memory_order_relaxed);
      }
      lines.clear();
    }
    lock.lock();
    queued_bytes_ -= written;
    for (std::string& lines : batch) {
      if (empty_.size() < 8) empty_.push_back(std::move(lines));
    }
    batch.clear();
  }
}

}  // namespace pillion::proxy
