#include "supervisor/keeper/watchdog.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace pillion::keeper {

void Watchdog::set_up() {
  const char* address_text = std::getenv("NOTIFY_SOCKET");
  const char* period = std::getenv("WATCHDOG_USEC");
  const char* pid = std::getenv("WATCHDOG_PID");
  if (address_text == nullptr || period == nullptr) return;
  if (pid != nullptr && std::strtol(pid, nullptr, 10) != ::getpid()) return;
  sockaddr_un address{};
  const std::size_t length = std::strlen(address_text);
  if (length < 2 || length >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, address_text, length);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), size) < 0) return close();
  period_ns_ = std::strtoull(period, nullptr, 10) * 1000;
  next_at_ns_ = period_ns_ == 0 ? 0 : 1;
}

void Watchdog::pet(std::uint64_t now_ns) {
  static constexpr char kMessage[] = "WATCHDOG=1";
  static_cast<void>(!::send(socket_, kMessage, sizeof kMessage - 1, MSG_NOSIGNAL));
  next_at_ns_ = now_ns + period_ns_ / 2;
}

void Watchdog::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
  period_ns_ = 0;
  next_at_ns_ = 0;
}

}  // namespace pillion::keeper
