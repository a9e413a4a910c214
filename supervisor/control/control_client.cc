#include "supervisor/control/control_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace pillion::supervisor::control {

namespace {

constexpr std::size_t kReplyBytesMax = 4u << 20;

// Waits until `socket` can do what `events` say; ETIMEDOUT at the deadline.
Result<void> wait_for(int socket, short events, MonotonicTime deadline) {
  const SystemClock clock;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.now()).count();
    if (left < 0) return fail(Error("no answer in time", ETIMEDOUT));
    pollfd watched{socket, events, 0};
    const int count =
        ::poll(&watched, 1, static_cast<int>(std::min<long long>(left + 1, 1'000'000)));
    if (count > 0) return {};
    if (count < 0 && errno != EINTR) return fail_errno("cannot wait for the control socket");
  }
}

}  // namespace

Result<ControlClient> ControlClient::connect(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return fail(fmt::format("cannot connect to {}: the path is longer than {} bytes", socket_path,
                            sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("cannot make a socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(fmt::format("cannot connect to {}", socket_path));
  }
  if (auto done = set_nonblocking(socket.get(), true); !done) return fail(done.error());
  return ControlClient(std::move(socket));
}

Result<void> ControlClient::send(std::string_view line, Duration timeout) {
  const MonotonicTime deadline = SystemClock().now() + timeout;
  const std::string text = std::string(line) + "\n";
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t count =
        ::send(socket_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count >= 0) {
      sent += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for(socket_.get(), POLLOUT, deadline); !ready) return ready;
    } else if (errno != EINTR) {
      return fail_errno("cannot send to the supervisor");
    }
  }
  return {};
}

Result<std::string> ControlClient::receive(Duration timeout) {
  const MonotonicTime deadline = SystemClock().now() + timeout;
  for (;;) {
    if (const std::size_t newline = received_.find('\n'); newline != std::string::npos) {
      std::string line = received_.substr(0, newline);
      received_.erase(0, newline + 1);
      return line;
    }
    if (received_.size() > kReplyBytesMax) return fail("the supervisor's reply is too long");
    char buffer[16 * 1024];
    const ssize_t count = ::read(socket_.get(), buffer, sizeof buffer);
    if (count > 0) {
      received_.append(buffer, static_cast<std::size_t>(count));
    } else if (count == 0) {
      return fail("the supervisor closed the connection");
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for(socket_.get(), POLLIN, deadline); !ready)
        return fail(ready.error());
    } else if (errno != EINTR) {
      return fail_errno("cannot read from the supervisor");
    }
  }
}

Result<std::string> ControlClient::ask(std::string_view line, Duration timeout) {
  if (auto sent = send(line, timeout); !sent) return fail(sent.error());
  return receive(timeout);
}

}  // namespace pillion::supervisor::control
