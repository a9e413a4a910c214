#include "supervisor/control/control_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "runtime/http1/chunked.h"
#include "runtime/http1/framing.h"
#include "runtime/http1/head_parser.h"

namespace pillion::supervisor::control {

namespace {

constexpr std::size_t kReplyBytesMax = 16u << 20;

Error closed_early() {
  return Error("the supervisor closed the connection before its answer was complete", ECONNRESET);
}

// Waits until `socket` can do what `events` say; ETIMEDOUT at the deadline, if there is one.
Result<void> wait_for(int socket, short events, std::optional<MonotonicTime> deadline) {
  const SystemClock clock;
  for (;;) {
    long long left = -1;
    if (deadline) {
      left = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - clock.now()).count();
      if (left < 0) return fail(Error("the supervisor did not answer in time", ETIMEDOUT));
      left = std::min<long long>(left + 1, 1'000'000);
    }
    pollfd watched{socket, events, 0};
    const int count = ::poll(&watched, 1, static_cast<int>(left));
    if (count > 0) return {};
    if (count < 0 && errno != EINTR) return fail_errno("cannot wait for the control socket");
  }
}

Result<void> send_all(int socket, std::string_view bytes, MonotonicTime deadline) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for(socket, POLLOUT, deadline); !ready) return ready;
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return {};  // refused before it was read: the answer says why
    } else if (errno != EINTR) {
      return fail_errno("cannot send to the supervisor");
    }
  }
  return {};
}

// A supervisor in a user namespace cannot tell root from a stranger: neither is mapped there. So
// root asks as the user whom the socket belongs to. Returns as connect() does.
int connect_as_owner(int socket, const sockaddr_un& address) {
  struct stat status {};
  const bool is_root = ::geteuid() == 0;
  const bool is_other = ::stat(address.sun_path, &status) == 0 && status.st_uid != 0;
  const bool is_changed = is_root && is_other && ::seteuid(status.st_uid) == 0;
  const int result = ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int reason = errno;
  // Back to what it was before; the saved id is still root's.
  if (is_changed && ::seteuid(0) != 0) ::abort();
  errno = reason;
  return result;
}

}  // namespace

// The answer to one request, piece by piece.
class ControlClient::Exchange {
 public:
  explicit Exchange(int socket) : socket_(socket) {}

  // The status.
  Result<int> read_head(MonotonicTime deadline) {
    http1::ParseProgress progress;
    http1::ResponseHead head;
    for (;;) {
      const auto parsed = http1::parse_response(input_, progress, {}, head);
      if (parsed.status == http1::ParseStatus::Failed) return fail(not_http(parsed.error.reason));
      if (parsed.status == http1::ParseStatus::Done) {
        const auto framing = http1::response_framing(head, false);
        if (!framing.is_ok()) return fail(not_http(framing.error.reason));
        framing_ = framing.framing;
        missing_ = framing_.length;
        const int status = head.status;
        input_.erase(0, parsed.head_bytes);
        return status;
      }
      if (auto got = receive(deadline); !got) return fail(got.error());
      if (is_closed_) return fail(closed_early());
    }
  }

  // Appends the next bytes of the body; false when it is complete.
  Result<bool> read_body(std::string& body, std::optional<MonotonicTime> deadline) {
    for (;;) {
      const std::size_t before = body.size();
      const auto is_complete = decode(body);
      if (!is_complete) return fail(is_complete.error());
      if (body.size() > before) return true;
      if (*is_complete) return false;
      if (is_closed_) return fail(closed_early());
      if (auto got = receive(deadline); !got) return fail(got.error());
    }
  }

 private:
  static Error not_http(std::string_view reason) {
    return Error(
        fmt::format("the control socket does not speak HTTP ({}); is another version of "
                    "pillion running there?",
                    reason));
  }

  // Moves what has arrived of the body to `body`; true when nothing more belongs to it.
  Result<bool> decode(std::string& body) {
    if (framing_.kind == http1::BodyKind::Chunked) return decode_chunks(body);
    std::size_t count = framing_.kind == http1::BodyKind::None ? 0 : input_.size();
    if (framing_.kind == http1::BodyKind::Length) {
      count = static_cast<std::size_t>(std::min<std::uint64_t>(count, missing_));
      missing_ -= count;
    }
    body.append(input_, 0, count);
    input_.erase(0, count);
    return framing_.kind == http1::BodyKind::UntilClose ? is_closed_ : missing_ == 0;
  }

  Result<bool> decode_chunks(std::string& body) {
    using Event = http1::ChunkedDecoder::Event;
    std::size_t consumed = 0;
    for (;;) {
      const auto step = decoder_.next(std::string_view(input_).substr(consumed));
      consumed += step.consumed;
      if (step.event == Event::Failed) return fail(not_http(decoder_.error().reason));
      if (step.event == Event::Data) {
        body.append(step.data);
        continue;
      }
      input_.erase(0, consumed);
      return step.event == Event::Done || decoder_.is_done();
    }
  }

  Result<void> receive(std::optional<MonotonicTime> deadline) {
    for (;;) {
      char buffer[16 * 1024];
      const ssize_t count = ::recv(socket_, buffer, sizeof buffer, 0);
      if (count > 0) {
        input_.append(buffer, static_cast<std::size_t>(count));
        return {};
      }
      if (count == 0 || errno == ECONNRESET) {
        is_closed_ = true;
        return {};
      }
      if (errno == EAGAIN) {
        if (auto ready = wait_for(socket_, POLLIN, deadline); !ready) return ready;
      } else if (errno != EINTR) {
        return fail_errno("cannot read from the supervisor");
      }
    }
  }

  int socket_;
  std::string input_;
  http1::Framing framing_;
  std::uint64_t missing_ = 0;
  http1::ChunkedDecoder decoder_;
  bool is_closed_ = false;
};

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
  if (connect_as_owner(socket.get(), address) != 0) {
    return fail_errno(fmt::format("cannot connect to {}", socket_path));
  }
  if (auto done = set_nonblocking(socket.get(), true); !done) return fail(done.error());
  return ControlClient(std::move(socket));
}

Result<ControlReply> ControlClient::ask(std::string_view method, std::string_view target,
                                        std::string_view body, Duration timeout) {
  const MonotonicTime deadline = SystemClock().now() + timeout;
  const std::string request = fmt::format(
      "{} {} HTTP/1.1\r\nHost: pillion\r\nContent-Type: application/json\r\nContent-Length: "
      "{}\r\nConnection: close\r\n\r\n{}",
      method, target, body.size(), body);
  if (auto sent = send_all(socket_.get(), request, deadline); !sent) return fail(sent.error());
  Exchange exchange(socket_.get());
  const auto status = exchange.read_head(deadline);
  if (!status) return fail(status.error());
  ControlReply reply{*status, {}};
  for (;;) {
    const auto more = exchange.read_body(reply.body, deadline);
    if (!more) return fail(more.error());
    if (!*more) return reply;
    if (reply.body.size() > kReplyBytesMax) return fail("the supervisor's answer is too long");
  }
}

Result<ControlReply> ControlClient::follow(
    std::string_view target, Duration timeout,
    const std::function<bool(std::string_view line)>& on_line) {
  const MonotonicTime deadline = SystemClock().now() + timeout;
  const std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: pillion\r\n\r\n", target);
  if (auto sent = send_all(socket_.get(), request, deadline); !sent) return fail(sent.error());
  Exchange exchange(socket_.get());
  const auto status = exchange.read_head(deadline);
  if (!status) return fail(status.error());
  ControlReply reply{*status, {}};
  const bool is_stream = *status == 200;
  for (;;) {
    const auto more =
        exchange.read_body(reply.body, is_stream ? std::nullopt : std::optional(deadline));
    if (!more) return fail(more.error());
    if (!*more) return reply;
    for (std::size_t newline;
         is_stream && (newline = reply.body.find('\n')) != std::string::npos;) {
      const bool goes_on = on_line(std::string_view(reply.body).substr(0, newline));
      reply.body.erase(0, newline + 1);
      if (!goes_on) return reply;
    }
    if (reply.body.size() > kReplyBytesMax) return fail("the supervisor's answer is too long");
  }
}

}  // namespace pillion::supervisor::control
