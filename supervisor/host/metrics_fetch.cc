#include "supervisor/host/metrics_fetch.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "runtime/http1/head_parser.h"
#include "supervisor/host/namespaces.h"

namespace pillion::supervisor::host {
namespace {

socklen_t fill_address(const MetricsEndpoint& endpoint, sockaddr_storage& storage) {
  if (!endpoint.unix_path.empty()) {
    auto* local = reinterpret_cast<sockaddr_un*>(&storage);
    local->sun_family = AF_UNIX;
    if (endpoint.unix_path.size() >= sizeof local->sun_path) return 0;
    std::memcpy(local->sun_path, endpoint.unix_path.data(), endpoint.unix_path.size());
    return sizeof *local;
  }
  if (endpoint.address.is_v6()) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(endpoint.port);
    std::memcpy(&v6->sin6_addr, endpoint.address.bytes.data(), 16);
    return sizeof *v6;
  }
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
  v4->sin_family = AF_INET;
  v4->sin_port = htons(endpoint.port);
  std::memcpy(&v4->sin_addr, endpoint.address.bytes.data(), 4);
  return sizeof *v4;
}

Result<Fd> start_connect(const MetricsEndpoint& endpoint) {
  sockaddr_storage storage{};
  const socklen_t length = fill_address(endpoint, storage);
  if (length == 0) return fail("the path of its socket is too long");
  const auto make = [&]() -> Result<Fd> {
    Fd made(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made) return fail_errno("cannot create a socket");
    return made;
  };
  auto socket =
      storage.ss_family == AF_UNIX ? make() : make_inside(endpoint.network_namespace, make);
  if (!socket) return socket;
  if (::connect(socket->get(), reinterpret_cast<sockaddr*>(&storage), length) < 0 &&
      errno != EINPROGRESS) {
    return fail_errno("connect");
  }
  return socket;
}

std::string make_request(const MetricsEndpoint& endpoint) {
  const std::string authority =
      endpoint.unix_path.empty()
          ? config::SocketAddress{endpoint.address, endpoint.port}.to_string()
          : "pillion";
  return fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: pillion\r\nAccept: "
      "text/plain;version=0.0.4;q=1,*/*;q=0.1\r\nConnection: close\r\n\r\n",
      endpoint.path, authority);
}

std::string describe_timeout(bool is_connected, Duration timeout) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
  return fmt::format("no {} within {}", is_connected ? "complete answer" : "connection",
                     config::to_string(milliseconds));
}

}  // namespace

MetricsFetch::MetricsFetch(Loop& loop) : loop_(loop), timer_(loop) {}

void MetricsFetch::start(const MetricsEndpoint& endpoint, Duration timeout, OnDone on_done) {
  on_done_ = std::move(on_done);
  request_ = make_request(endpoint);
  auto socket = start_connect(endpoint);
  if (!socket) return finish_later(socket.error());
  socket_ = std::move(*socket);
  timer_.start(timeout,
               [this, timeout] { finish(fail(describe_timeout(is_connected_, timeout))); });
  poll_.emplace(loop_, socket_.get());
  poll_->start(kWritable, [this](int, int error) { on_event(error); });
}

void MetricsFetch::on_event(int poll_error) {
  if (is_connected_) return read();
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error == 0) error = poll_error;
  if (error != 0) return finish(fail(Error::from_errno("connect", error)));
  is_connected_ = true;
  // A request is far smaller than a fresh socket's buffer: one send takes it whole.
  const ssize_t sent = ::send(socket_.get(), request_.data(), request_.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(request_.size())) {
    return finish(sent < 0 ? fail_errno("send") : fail("the request was not taken"));
  }
  poll_->set_events(kReadable);
}

void MetricsFetch::read() {
  char buffer[64 * 1024];
  const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0) return finish(fail_errno("receive"));
  input_.append(buffer, static_cast<std::size_t>(count));
  if (has_head_ || take_head()) take_body();
  const bool ends_by_close = has_head_ && framing_.kind == http1::BodyKind::UntilClose;
  if (count == 0 && ends_by_close) is_complete_ = true;
  if (body_.size() > kBodyBytesMax) {
    problem_ = fmt::format("the answer is longer than {} MiB", kBodyBytesMax >> 20);
  }
  if (!problem_.empty()) return finish(fail(problem_));
  if (is_complete_) return finish(std::move(body_));
  if (count == 0) finish(fail("closed before the answer was complete"));
}

// False while it is not complete, or when `problem_` says why it is none.
bool MetricsFetch::take_head() {
  http1::ResponseHead head;
  const auto parsed = http1::parse_response(input_, progress_, {}, head);
  if (parsed.status == http1::ParseStatus::NeedMore) return false;
  if (parsed.status == http1::ParseStatus::Failed) {
    problem_ = fmt::format("the answer is not HTTP: {}", parsed.error.reason);
    return false;
  }
  const auto framing = http1::response_framing(head, false);
  if (head.status != 200) problem_ = fmt::format("HTTP {}", head.status);
  if (!framing.is_ok()) problem_ = fmt::format("the answer is not HTTP: {}", framing.error.reason);
  if (head.fields.find("content-encoding") != nullptr) problem_ = "the answer is compressed";
  framing_ = framing.framing;
  input_.erase(0, parsed.head_bytes);
  has_head_ = problem_.empty();
  return has_head_;
}

void MetricsFetch::take_body() {
  using Event = http1::ChunkedDecoder::Event;
  if (framing_.kind != http1::BodyKind::Chunked) {
    body_ += input_;
    input_.clear();
    const bool has_length = framing_.kind != http1::BodyKind::UntilClose;
    const std::uint64_t length = framing_.kind == http1::BodyKind::Length ? framing_.length : 0;
    if (!has_length || body_.size() < length) return;
    body_.resize(static_cast<std::size_t>(length));
    is_complete_ = true;
    return;
  }
  std::string_view rest = input_;
  for (Event event = Event::Data; event == Event::Data;) {
    const auto step = chunks_.next(rest);
    rest.remove_prefix(step.consumed);
    body_ += step.data;
    event = step.event;
  }
  if (!chunks_.error().reason.empty()) {
    problem_ = fmt::format("the answer is not HTTP: {}", chunks_.error().reason);
  }
  is_complete_ = chunks_.is_done();
  input_.clear();
}

void MetricsFetch::finish(Result<std::string> result) {
  timer_.stop();
  poll_.reset();
  socket_.reset();
  const auto on_done = std::move(on_done_);
  on_done(std::move(result));  // may destroy this
}

void MetricsFetch::finish_later(Error error) {
  timer_.start(Duration::zero(), [this, error = std::move(error)] { finish(fail(error)); });
}

}  // namespace pillion::supervisor::host
