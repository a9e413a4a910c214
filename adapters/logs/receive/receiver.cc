#include "adapters/logs/receive/receiver.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "runtime/listeners.h"
#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr std::size_t kReadBytes = 64u << 10;
constexpr std::size_t kConnectionsMax = 1024;
constexpr int kReceiveBuffer = 4 << 20;
// Of one look at a source, so that a busy one does not starve the rest of the program.
constexpr int kReadsPerLook = 64;
constexpr std::size_t kLengthDigitsMax = 8;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

Receiver::Receiver(Loop& loop, ReceiverOptions options)
    : loop_(loop),
      options_(std::move(options)),
      spool_(options_.spool_path, options_.spool_bytes_max) {}

Receiver::~Receiver() = default;

std::string Receiver::name() const {
  if (!options_.fifo.empty()) return options_.fifo;
  if (!options_.socket_path.empty()) return options_.socket_path;
  const bool is_ipv6 = options_.address.find(':') != std::string::npos;
  return fmt::format("syslog {}{}{}:{}", is_ipv6 ? "[" : "", options_.address, is_ipv6 ? "]" : "",
                     options_.port);
}

Result<void> Receiver::start() {
  if (auto opened = spool_.open(); !opened) return opened;
  if (!options_.fifo.empty()) return open_fifo();
  return options_.socket_path.empty() ? open_address() : open_socket();
}

// Also open for writing, so that it does not end when the last writer closes it.
Result<void> Receiver::open_fifo() {
  const char* const path = options_.fifo.c_str();
  if (::mkfifo(path, 0622) < 0 && errno != EEXIST) {
    return fail_errno("cannot create the named pipe " + options_.fifo);
  }
  auto fd = open_file(options_.fifo, O_RDWR | O_NONBLOCK);
  if (!fd) return fail(fd.error());
  struct stat facts;
  if (::fstat(fd->get(), &facts) < 0 || !S_ISFIFO(facts.st_mode)) {
    return fail(options_.fifo + " is not a named pipe; remove it or choose another path");
  }
  streams_.push_back(std::make_unique<Stream>());
  streams_.back()->fd = std::move(*fd);
  watch(*streams_.back());
  return {};
}

Result<void> Receiver::open_socket() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options_.socket_path.size() >= sizeof address.sun_path) {
    return fail(options_.socket_path + " is longer than a socket's path may be (107 bytes)");
  }
  options_.socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  struct stat facts;
  if (::lstat(address.sun_path, &facts) == 0 && S_ISSOCK(facts.st_mode)) {
    ::unlink(address.sun_path);  // of an earlier run
  }
  datagrams_ = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!datagrams_ ||
      ::bind(datagrams_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return fail_errno("cannot bind " + options_.socket_path);
  }
  ::chmod(address.sun_path, 0666);
  datagrams_poll_.emplace(loop_, datagrams_.get());
  datagrams_poll_->start(kReadable, [this](int, int) { read_datagrams(datagrams_.get()); });
  return {};
}

Result<void> Receiver::open_address() {
  auto listener = listen_tcp(options_.address, options_.port);
  if (!listener) return fail(listener.error());
  auto datagrams = bind_udp(options_.address, options_.port);
  if (!datagrams) return fail(datagrams.error());
  listener_ = std::move(*listener);
  datagrams_ = std::move(*datagrams);
  const int bytes = kReceiveBuffer;
  if (::setsockopt(datagrams_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0) {
    ::setsockopt(datagrams_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  listener_poll_.emplace(loop_, listener_.get());
  listener_poll_->start(kReadable, [this](int, int) { accept_connections(); });
  datagrams_poll_.emplace(loop_, datagrams_.get());
  datagrams_poll_->start(kReadable, [this](int, int) { read_datagrams(datagrams_.get()); });
  return {};
}

void Receiver::watch(Stream& stream) {
  stream.poll.emplace(loop_, stream.fd.get());
  stream.poll->start(kReadable, [this, &stream](int, int) {
    if (!can_store()) {
      stream.poll->set_events(0);  // tick() looks again
      return;
    }
    if (!read_stream(stream)) drop(&stream);
  });
}

void Receiver::accept_connections() {
  for (int i = 0; i < kReadsPerLook; ++i) {
    Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;
    if (streams_.size() >= kConnectionsMax) {
      log::warn("{}: more than {} connections; a new one is refused", name(), kConnectionsMax);
      continue;
    }
    streams_.push_back(std::make_unique<Stream>());
    streams_.back()->fd = std::move(fd);
    watch(*streams_.back());
  }
}

void Receiver::drop(const Stream* stream) {
  // Not within the callback of its own poll.
  loop_.defer([this, stream] {
    std::erase_if(streams_, [&](const auto& one) { return one.get() == stream; });
  });
}

bool Receiver::can_store() { return trouble_.empty() && spool_.has_room(); }

// Everything gathered goes to the spool at once; what the disk refuses is kept for the next try, or
// lost when it came as a datagram over the network.
void Receiver::store() {
  if (gathered_.empty()) return;
  const auto stored = spool_.append(gathered_);
  if (!stored) {
    if (trouble_ != stored.error().message())
      log::error("{}: {}", name(), stored.error().message());
    trouble_ = stored.error().message();
    return;
  }
  trouble_.clear();
  gathered_.clear();
}

void Receiver::add_message(std::string_view message) {
  while (!message.empty() &&
         (message.back() == '\n' || message.back() == '\0' || message.back() == '\r')) {
    message.remove_suffix(1);
  }
  if (message.empty()) return;
  for (const char c : message.substr(0, options_.message_bytes_max)) {
    if (c == '\n') {
      gathered_ += "#012";
    } else {
      gathered_ += c;
    }
  }
  gathered_ += '\n';
}

void Receiver::read_datagrams(int socket) {
  if (datagrams_poll_ && !options_.socket_path.empty() && !can_store()) {
    datagrams_poll_->set_events(0);  // senders wait; tick() looks again
    return;
  }
  static thread_local std::vector<char> buffer(kReadBytes);
  for (int i = 0; i < kReadsPerLook; ++i) {
    const ssize_t count = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    if (can_store()) {
      add_message({buffer.data(), static_cast<std::size_t>(count)});
    } else if (lost_++ == 0) {
      log::error("{}: datagrams are lost: {}", name(),
                 trouble_.empty() ? "the spool is full" : trouble_);
    }
  }
  store();
}

bool Receiver::read_stream(Stream& stream) {
  for (int i = 0; i < kReadsPerLook && can_store(); ++i) {
    const std::size_t before = stream.pending.size();
    stream.pending.resize(before + kReadBytes);
    ssize_t count = 0;
    do {
      count = ::read(stream.fd.get(), stream.pending.data() + before, kReadBytes);
    } while (count < 0 && errno == EINTR);
    stream.pending.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    take_messages(stream, count <= 0);
    store();
    if (count <= 0) return false;
  }
  return true;
}

// "123 <34>1 …". False when there is less than a whole message.
bool Receiver::take_counted(Stream& stream, std::size_t& at) {
  const std::string_view left = std::string_view(stream.pending).substr(at);
  std::size_t length = 0, digits = 0;
  while (digits < left.size() && is_digit(left[digits])) {
    length = length * 10 + static_cast<std::size_t>(left[digits++] - '0');
  }
  if (digits == left.size()) return false;
  const std::size_t begin = digits + 1;
  if (left.size() < begin + std::min(length, options_.message_bytes_max)) return false;
  add_message(left.substr(begin, std::min(length, options_.message_bytes_max)));
  const std::size_t taken = std::min(begin + length, left.size());
  stream.skip = begin + length - taken;
  at += taken;
  return true;
}

// With `has_ended`, what is left is a whole message, too.
void Receiver::take_messages(Stream& stream, bool has_ended) {
  std::string& pending = stream.pending;
  std::size_t at = 0;
  while (at < pending.size()) {
    if (stream.skip > 0) {
      const std::size_t skipped = std::min<std::uint64_t>(stream.skip, pending.size() - at);
      stream.skip -= skipped;
      at += skipped;
      continue;
    }
    const std::string_view left = std::string_view(pending).substr(at);
    const std::size_t blank = left.find_first_not_of("0123456789");
    const bool is_counted = options_.fifo.empty() && !stream.is_cutting && is_digit(left[0]) &&
                            left[0] != '0' && std::min(blank, left.size()) <= kLengthDigitsMax &&
                            (blank == std::string_view::npos || left[blank] == ' ');
    if (is_counted) {
      if (take_counted(stream, at)) continue;
      if (!has_ended) break;
    }
    std::size_t end = left.find('\n');
    if (end == std::string_view::npos) {
      if (has_ended && !stream.is_cutting) add_message(left);
      const bool is_too_long = left.size() > options_.message_bytes_max;
      if (is_too_long && !has_ended && !std::exchange(stream.is_cutting, true)) add_message(left);
      if (has_ended || stream.is_cutting) at = pending.size();
      break;
    }
    if (!std::exchange(stream.is_cutting, false)) add_message(left.substr(0, end));
    at += end + 1;
  }
  pending.erase(0, at);
}

void Receiver::tick(const std::function<bool(const FileFacts&)>& is_delivered) {
  spool_.collect(is_delivered);
  if (!trouble_.empty()) {  // the disk may take it now
    trouble_.clear();
    store();
    if (!trouble_.empty()) return;
  }
  if (!spool_.has_room()) {
    if (!std::exchange(is_full_, true)) {
      log::warn("{}: the spool holds {} bytes; nothing is read until an output has taken some",
                name(), spool_.bytes());
    }
    return;
  }
  is_full_ = false;
  if (datagrams_poll_) datagrams_poll_->set_events(kReadable);
  for (const auto& stream : streams_) stream->poll->set_events(kReadable);
}

void Receiver::finish() {
  listener_poll_.reset();
  datagrams_poll_.reset();
  if (datagrams_) read_datagrams(datagrams_.get());
  for (const auto& stream : streams_) {
    stream->poll.reset();
    if (read_stream(*stream) && can_store()) {
      take_messages(*stream, true);
      store();
    }
  }
  streams_.clear();
  listener_.reset();
  datagrams_.reset();
  if (!options_.socket_path.empty()) ::unlink(options_.socket_path.c_str());
}

}  // namespace pillion::logs
