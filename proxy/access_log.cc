#include "proxy/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>

#include "runtime/json_text.h"

namespace pillion::proxy {
namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101ull;
constexpr std::uint64_t kHighBits = 0x8080808080808080ull;

std::uint64_t load(const char* bytes, std::size_t size) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, size);
  return word;
}

// Whether one of eight bytes cannot stand in a JSON string as it is: a control, a quote, a
// backslash, DEL or what is not ASCII.
bool has_special(std::uint64_t word) {
  const auto has_zero = [](std::uint64_t bytes) { return (bytes - kOnes) & ~bytes; };
  const std::uint64_t found = word | ((word - kOnes * 0x20) & ~word) |
                              has_zero(word ^ kOnes * '"') | has_zero(word ^ kOnes * '\\') |
                              has_zero(word ^ kOnes * 0x7f);
  return (found & kHighBits) != 0;
}

bool is_plain(std::string_view text) {
  const char* bytes = text.data();
  std::size_t left = text.size();
  if (left >= 8) {
    for (; left > 8; bytes += 8, left -= 8) {
      if (has_special(load(bytes, 8))) return false;
    }
    return !has_special(load(bytes + left - 8, 8));  // overlaps what was looked at
  }
  if (left >= 4) return !has_special(load(bytes, 4) | load(bytes + left - 4, 4) << 32);
  return left == 0 || !has_special(load(bytes, 1) | load(bytes + left / 2, 1) << 8 |
                                   load(bytes + left - 1, 1) << 16 | kOnes * 'a' << 24);
}

// Writes a line into memory that is known to suffice (see bound_of).
class LineWriter {
 public:
  explicit LineWriter(char* begin) : begin_(begin), end_(begin) {}

  template<std::size_t N>
  LineWriter& add(const char (&literal)[N]) {
    std::memcpy(end_, literal, N - 1);
    end_ += N - 1;
    return *this;
  }
  LineWriter& add(std::string_view text) {
    if (text.empty()) return *this;  // whose data may be null
    std::memcpy(end_, text.data(), text.size());
    end_ += text.size();
    return *this;
  }
  LineWriter& number(std::uint64_t value) {
    end_ = std::to_chars(end_, end_ + kNumberBytesMax, value).ptr;
    return *this;
  }
  // Milliseconds with three decimals.
  LineWriter& milliseconds(std::int64_t nanoseconds) {
    const auto microseconds =
        static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 0)) / 1000;
    number(microseconds / 1000);
    return decimals(static_cast<unsigned>(microseconds % 1000));
  }
  LineWriter& decimals(unsigned thousandths) {
    *end_++ = '.';
    *end_++ = static_cast<char>('0' + thousandths / 100);
    *end_++ = static_cast<char>('0' + thousandths / 10 % 10);
    *end_++ = static_cast<char>('0' + thousandths % 10);
    return *this;
  }
  LineWriter& quoted(std::string_view text) {
    if (is_plain(text)) return add("\"").add(text).add("\"");
    std::string escaped;
    append_json_string(escaped, text);
    return add(std::string_view(escaped));
  }
  std::string_view line() const { return {begin_, static_cast<std::size_t>(end_ - begin_)}; }

 private:
  static constexpr std::size_t kNumberBytesMax = 20;

  char* const begin_;
  char* end_;
};

// No line of the record is longer: names, numbers, and texts of which each byte may become six.
std::size_t bound_of(const AccessRecord& record) {
  constexpr std::size_t kNamesAndNumbers = 1024;
  std::size_t texts = 0;
  for (const std::string_view text :
       {record.direction, record.method, record.path, record.authority, record.protocol,
        record.upstream, record.upstream_address, record.downstream_address, record.request_id,
        record.details, record.flags, record.tls_version, record.peer_uri}) {
    texts += text.size();
  }
  return kNamesAndNumbers + 6 * texts;
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

// The text of the second, "2024-01-15T14:32:01".
std::string_view AccessFormatter::second_of(std::int64_t wall_ns) {
  const std::int64_t second = wall_ns / 1'000'000'000;
  if (second != second_) {
    second_ = second;
    const auto seconds = static_cast<std::time_t>(second);
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    std::strftime(second_text_, sizeof second_text_, "%Y-%m-%dT%H:%M:%S", &parts);
  }
  return {second_text_, sizeof second_text_ - 1};
}

std::string_view AccessFormatter::write_json(char* out, const AccessRecord& record) {
  LineWriter line(out);
  line.add("{\"timestamp\":\"").add(second_of(record.wall_ns));
  line.decimals(static_cast<unsigned>(record.wall_ns / 1'000'000 % 1000));
  line.add("Z\",\"direction\":\"").add(record.direction).add("\"");
  if (!record.method.empty()) {
    line.add(",\"method\":").quoted(record.method).add(",\"path\":").quoted(record.path);
    line.add(",\"authority\":").quoted(record.authority);
  }
  if (!record.method.empty() || record.status != 0) {
    line.add(",\"status\":").number(static_cast<std::uint64_t>(record.status));
  }
  line.add(",\"protocol\":\"").add(record.protocol);
  line.add("\",\"bytes_received\":").number(record.bytes_received);
  line.add(",\"bytes_sent\":").number(record.bytes_sent);
  line.add(",\"duration_ms\":").milliseconds(record.duration_ns);
  line.add(",\"upstream_ms\":").milliseconds(record.upstream_ns);
  line.add(",\"proxy_ms\":").milliseconds(record.duration_ns - record.upstream_ns);
  line.add(",\"upstream\":").quoted(record.upstream);
  line.add(",\"upstream_address\":\"").add(record.upstream_address);
  line.add("\",\"downstream_address\":\"").add(record.downstream_address).add("\"");
  if (!record.request_id.empty()) line.add(",\"request_id\":").quoted(record.request_id);
  if (!record.tls_version.empty()) {
    line.add(",\"downstream_tls_version\":\"").add(record.tls_version);
    line.add("\",\"downstream_peer_uri_san\":").quoted(record.peer_uri);
  }
  line.add(",\"response_flags\":\"").add(record.flags);
  line.add("\",\"response_code_details\":").quoted(record.details);
  line.add(",\"attempts\":").number(record.attempts);
  if (record.is_connection_reused) {
    line.add(",\"reused_connection\":true}\n");
  } else {
    line.add(",\"reused_connection\":false}\n");
  }
  return line.line();
}

std::string_view AccessFormatter::write_text(char* out, const AccessRecord& record) {
  LineWriter line(out);
  line.add(second_of(record.wall_ns));
  line.decimals(static_cast<unsigned>(record.wall_ns / 1'000'000 % 1000)).add("Z ");
  line.add(record.direction).add(" ").add(record.downstream_address).add(" -> ");
  line.add(record.upstream_address.empty() ? "-" : record.upstream_address).add(" ");
  if (record.method.empty()) {
    line.add(record.protocol);
  } else {
    line.add(record.method).add(" ").add(record.authority).add(" ").quoted(record.path);
  }
  line.add(" ").number(static_cast<std::uint64_t>(record.status)).add(" ");
  line.milliseconds(record.duration_ns).add("ms ");
  line.add(record.flags.empty() ? "-" : record.flags).add(" ").add(record.details).add(" ");
  line.add(record.request_id).add("\n");
  return line.line();
}

void AccessFormatter::append(std::string& out, const AccessRecord& record) {
  char memory[4096];
  std::string large;
  char* room = memory;
  if (const std::size_t bound = bound_of(record); bound > sizeof memory) {
    large.resize(bound);
    room = large.data();
  }
  out.append(format_ == config::AccessLogFormat::Json ? write_json(room, record)
                                                      : write_text(room, record));
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
