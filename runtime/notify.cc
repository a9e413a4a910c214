#include "runtime/notify.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace pillion {
namespace {

// The largest datagram read; sd_notify itself sends at most 4 KiB of text in practice.
constexpr std::size_t kMessageBytesMax = 16384;
constexpr int kMessagesPerWakeupMax = 64;

bool make_address(const std::string& text, sockaddr_un& address, socklen_t& length) {
  address = {};
  address.sun_family = AF_UNIX;
  if (text.empty() || text.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, text.data(), text.size());
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size());
  if (text.front() == '@')
    address.sun_path[0] = '\0';
  else
    ++length;
  return text.front() == '@' || text.front() == '/';
}

std::optional<Duration> read_watchdog_period() {
  const char* microseconds = std::getenv("WATCHDOG_USEC");
  if (microseconds == nullptr) return std::nullopt;
  const char* pid = std::getenv("WATCHDOG_PID");
  if (pid != nullptr && std::strtol(pid, nullptr, 10) != ::getpid()) return std::nullopt;
  const long long value = std::strtoll(microseconds, nullptr, 10);
  if (value <= 0) return std::nullopt;
  return std::chrono::microseconds(value) / 2;
}

}  // namespace

Notifier::Notifier(std::string socket_address) : address_(std::move(socket_address)) {
  sockaddr_un address{};
  socklen_t length = 0;
  if (make_address(address_, address, length)) {
    socket_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
}

Notifier Notifier::from_environment() {
  const char* address = std::getenv("NOTIFY_SOCKET");
  Notifier notifier = address == nullptr ? Notifier() : Notifier(address);
  notifier.watchdog_period_ = read_watchdog_period();
  return notifier;
}

void Notifier::send(std::string_view message) {
  sockaddr_un address{};
  socklen_t length = 0;
  if (!socket_ || !make_address(address_, address, length)) return;
  ssize_t sent = -1;
  do {
    sent = ::sendto(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL,
                    reinterpret_cast<const sockaddr*>(&address), length);
  } while (sent < 0 && errno == EINTR);
}

void Notifier::status(std::string_view text) {
  std::string message = "STATUS=";
  for (const char c : text) message += c == '\n' ? ' ' : c;
  send(message);
}

void Notifier::receipt(const std::map<std::string, long long>& numbers) {
  std::string message = "X_PILLION_RECEIPT=";
  for (const auto& [name, value] : numbers) {
    if (message.back() != '=') message += ' ';
    message += name + '=' + std::to_string(value);
  }
  send(message);
}

std::map<std::string, std::string> parse_notify_message(std::string_view datagram) {
  std::map<std::string, std::string> fields;
  while (!datagram.empty()) {
    const auto end = datagram.find('\n');
    const std::string_view line = datagram.substr(0, end);
    const auto equals = line.find('=');
    if (equals != std::string_view::npos && equals > 0) {
      fields[std::string(line.substr(0, equals))] = line.substr(equals + 1);
    }
    if (end == std::string_view::npos) break;
    datagram.remove_prefix(end + 1);
  }
  return fields;
}

Result<Fd> bind_notify_socket(const std::string& path) {
  sockaddr_un address{};
  socklen_t length = 0;
  if (!make_address(path, address, length)) {
    return fail("cannot bind notify socket " + path + ": the path must be absolute and at most " +
                std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("cannot create notify socket");
  const int is_on = 1;
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &is_on, sizeof is_on) < 0) {
    return fail_errno("cannot ask for credentials on notify socket " + path);
  }
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) {
    return fail_errno("cannot remove stale notify socket " + path);
  }
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) < 0) {
    return fail_errno("cannot bind notify socket " + path);
  }
  if (::chmod(path.c_str(), 0777) < 0) return fail_errno("cannot set mode of " + path);
  return socket;
}

NotifyReceiver::NotifyReceiver(Loop& loop, int socket,
                               std::function<void(NotifyMessage)> on_message)
    : socket_(socket), on_message_(std::move(on_message)), poll_(loop, socket) {
  poll_.start(kReadable, [this](int, int) { read_all(); });
}

void NotifyReceiver::read_all() {
  for (int i = 0; i < kMessagesPerWakeupMax; ++i) {
    std::array<char, kMessageBytesMax> buffer;
    // Room for credentials and a few descriptors, which a sender may attach and we drop.
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(16 * sizeof(int))>
        control;
    iovec data{buffer.data(), buffer.size()};
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    // Looked at first and taken out when it has been dealt with: a receiver that dies in between
    // leaves it to its successor.
    const ssize_t size = ::recvmsg(socket_, &header, MSG_CMSG_CLOEXEC | MSG_PEEK);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return;
    NotifyMessage message;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
         part = CMSG_NXTHDR(&header, part)) {
      if (part->cmsg_level != SOL_SOCKET) continue;
      if (part->cmsg_type == SCM_CREDENTIALS) {
        ucred credentials{};
        std::memcpy(&credentials, CMSG_DATA(part), sizeof credentials);
        message.sender_pid = credentials.pid;
        message.sender_uid = credentials.uid;
      } else if (part->cmsg_type == SCM_RIGHTS) {
        const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t k = 0; k < count; ++k) {
          int received = -1;
          std::memcpy(&received, CMSG_DATA(part) + k * sizeof(int), sizeof received);
          ::close(received);
        }
      }
    }
    message.fields =
        parse_notify_message(std::string_view(buffer.data(), static_cast<std::size_t>(size)));
    on_message_(std::move(message));
    static_cast<void>(!::recv(socket_, buffer.data(), 1, MSG_DONTWAIT));
  }
}

}  // namespace pillion
