#include "supervisor/host/net_probe.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "supervisor/host/namespaces.h"

namespace pillion::supervisor::host {
namespace {

constexpr std::size_t kAnswerBytesMax = 16 * 1024;

socklen_t fill_address(const NetProbeTarget& target, sockaddr_storage& storage) {
  if (target.address.is_v6()) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(target.port);
    std::memcpy(&v6->sin6_addr, target.address.bytes.data(), 16);
    return sizeof *v6;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(target.port);
  std::memcpy(&v4->sin_addr, target.address.bytes.data(), 4);
  return sizeof *v4;
}

Result<Fd> start_connect(const NetProbeTarget& target, int network_namespace) {
  sockaddr_storage storage{};
  const socklen_t length = fill_address(target, storage);
  auto socket = make_inside(network_namespace, [&]() -> Result<Fd> {
    Fd made(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made) return fail_errno("cannot create a socket");
    return made;
  });
  if (!socket) return socket;
  // The socket stays in the namespace it was made in.
  if (::connect(socket->get(), reinterpret_cast<sockaddr*>(&storage), length) < 0 &&
      errno != EINPROGRESS) {
    return fail_errno("connect");
  }
  return socket;
}

std::string error_text(int error) {
  std::string text = Error::from_errno("", error).message().substr(2);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + 32);
  return text;
}

}  // namespace

std::string make_probe_request(const NetProbeTarget& target) {
  const bool is_v6 = target.address.is_v6();
  std::string request = fmt::format("{} {} HTTP/1.1\r\n", target.method, target.path);
  const auto is_host = [](const auto& header) {
    return header.first.size() == 4 && ::strncasecmp(header.first.c_str(), "host", 4) == 0;
  };
  if (std::none_of(target.headers.begin(), target.headers.end(), is_host)) {
    request += fmt::format("Host: {}{}{}:{}\r\n", is_v6 ? "[" : "", target.address.to_string(),
                           is_v6 ? "]" : "", target.port);
  }
  for (const auto& [name, value] : target.headers) request += name + ": " + value + "\r\n";
  if (target.method != "GET") request += "Content-Length: 0\r\n";
  return request + "User-Agent: pillion-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n";
}

int parse_status_line(std::string_view line) {
  // "HTTP/1.1 200 OK" (RFC 9112 §4); the reason may be missing.
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || line[8] != ' ') return 0;
  int status = 0;
  const auto parsed = std::from_chars(line.data() + 9, line.data() + 12, status);
  return parsed.ptr == line.data() + 12 ? status : 0;
}

namespace {

// Those that have a Location to go to (RFC 9110 §15.4).
bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

NetProbeOutcome outcome_of(int status) {
  if (is_redirect(status)) return NetProbeOutcome::Redirected;
  return status >= 200 && status < 400 ? NetProbeOutcome::Success : NetProbeOutcome::Failure;
}

}  // namespace

NetProbe::NetProbe(Loop& loop) : loop_(loop), timer_(loop) {}

void NetProbe::start(const NetProbeTarget& target, int network_namespace, Duration timeout,
                     OnDone on_done) {
  on_done_ = std::move(on_done);
  is_http_ = target.is_http;
  if (is_http_) request_ = make_probe_request(target);
  auto socket = start_connect(target, network_namespace);
  if (!socket) {
    const bool is_refusal =
        socket.error().errno_value() == ECONNREFUSED || socket.error().errno_value() == ENETUNREACH;
    finish_later(is_refusal ? NetProbeOutcome::Failure : NetProbeOutcome::Error,
                 socket.error().message());
    return;
  }
  socket_ = std::move(*socket);
  timer_.start(timeout, [this] {
    finish(NetProbeOutcome::Timeout, is_connected_ ? "no answer in time" : "no connection in time");
  });
  poll_.emplace(loop_, socket_.get());
  poll_->start(kWritable, [this](int, int error) { on_event(error); });
}

void NetProbe::on_event(int poll_error) {
  if (is_connected_) return read_answer();
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error == 0) error = poll_error;
  if (error != 0) return finish(NetProbeOutcome::Failure, error_text(error));
  is_connected_ = true;
  if (!is_http_) return finish(NetProbeOutcome::Success, "connected");
  send_request();
}

// A request is far smaller than a fresh socket's buffer: one send takes it whole.
void NetProbe::send_request() {
  const ssize_t sent = ::send(socket_.get(), request_.data(), request_.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(request_.size())) {
    return finish(NetProbeOutcome::Failure, sent < 0 ? error_text(errno) : "request not taken");
  }
  poll_->set_events(kReadable);
}

void NetProbe::read_answer() {
  char buffer[2048];
  const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0) return finish(NetProbeOutcome::Failure, error_text(errno));
  answer_.append(buffer, static_cast<std::size_t>(count));
  const auto end = answer_.find('\n');
  if (end == std::string::npos && count > 0 && answer_.size() < kAnswerBytesMax) return;
  const int status = parse_status_line(std::string_view(answer_).substr(0, end));
  if (status == 0) {
    return finish(NetProbeOutcome::Failure, count == 0 ? "closed without an answer" : "not HTTP");
  }
  finish(outcome_of(status), fmt::format("HTTP {}", status));
}

void NetProbe::finish(NetProbeOutcome outcome, std::string detail) {
  timer_.stop();
  poll_.reset();
  socket_.reset();
  const auto on_done = std::move(on_done_);
  on_done(outcome, detail);  // may destroy this
}

void NetProbe::finish_later(NetProbeOutcome outcome, std::string detail) {
  timer_.start(Duration::zero(),
               [this, outcome, detail = std::move(detail)] { finish(outcome, detail); });
}

}  // namespace pillion::supervisor::host
