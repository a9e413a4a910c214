#include "proxy/endpoint.h"

#include <sys/epoll.h>

#include <cerrno>

namespace pillion::proxy {

// ---- UpstreamConnection -------------------------------------------------------------------------

UpstreamConnection::~UpstreamConnection() = default;

void UpstreamConnection::stop_waiting() {
  if (is_awaiting_socket_) endpoint_.options().sockets->forget(*this);
  is_awaiting_socket_ = false;
}

Result<void> UpstreamConnection::connect(Reactor& reactor, const SocketOptions& options) {
  const auto& source = endpoint_.options().source;
  reactor.timers().arm(*this, reactor.now() + endpoint_.options().connect_timeout);
  if (endpoint_.options().sockets != nullptr) return connect_to_app(reactor);
  auto socket =
      Socket::connect(reactor, *this, endpoint_.address(), source ? &*source : nullptr, options);
  if (!socket) return fail(socket.error());
  socket_ = std::move(*socket);
  return {};
}

Result<void> UpstreamConnection::connect_to_app(Reactor& reactor) {
  reactor_ = &reactor;
  const int family = endpoint_.address().data()->sa_family;
  AppSockets& sockets = *endpoint_.options().sockets;
  if (Fd fd = sockets.take(family)) return connect_on(std::move(fd));
  sockets.wait(*this, family);
  is_awaiting_socket_ = true;
  return {};
}

Result<void> UpstreamConnection::connect_on(Fd fd) {
  const auto& options = endpoint_.options();
  auto socket = Socket::connect(std::move(fd), *reactor_, *this, endpoint_.address(),
                                options.source ? &*options.source : nullptr, options.socket);
  if (!socket) return fail(socket.error());
  socket_ = std::move(*socket);
  return {};
}

void UpstreamConnection::on_app_socket(Fd socket) {
  is_awaiting_socket_ = false;
  auto begun = connect_on(std::move(socket));
  if (!begun) user_->on_upstream_connect_failed(begun.error().errno_value());
}

UpstreamConnection::UpstreamConnection(Endpoint& endpoint, Socket socket)
    : endpoint_(endpoint), user_(nullptr), socket_(std::move(socket)), uses_(0) {
  socket_.attach(*this);
}

void UpstreamConnection::lend_to(UpstreamUser& user) {
  user_ = &user;
  state_ = State::InUse;
  ++uses_;
}

void UpstreamConnection::become_idle() {
  user_ = nullptr;
  state_ = State::Idle;
}

void UpstreamConnection::on_events(std::uint32_t events) {
  if (!socket_.is_open()) return;
  socket_.note_events(events);
  switch (state_) {
    case State::Connecting: {
      if (!socket_.is_writable() && !socket_.is_hung_up()) return;
      const int error = socket_.connect_error();
      if (error != 0) {
        user_->on_upstream_connect_failed(error);
        return;
      }
      if (endpoint_.options().tls) {
        socket_.start_tls(endpoint_.make_tls());
        state_ = State::Handshaking;
        advance_handshake();
        return;
      }
      become_connected();
      return;
    }
    case State::Handshaking: advance_handshake(); return;
    case State::InUse: user_->on_upstream_ready(); return;
    case State::Idle:
      if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) == 0) return;
      if (socket_.tls() != nullptr && !socket_.is_stale()) return;  // a session ticket
      endpoint_.drop_idle(*this);
      return;
  }
}

void UpstreamConnection::advance_handshake() {
  switch (socket_.handshake()) {
    case HandshakeStatus::WouldBlock: return;
    case HandshakeStatus::Failed: user_->on_upstream_connect_failed(EPROTO); return;
    case HandshakeStatus::Done: become_connected(); return;
  }
}

void UpstreamConnection::become_connected() {
  state_ = State::InUse;
  endpoint_.on_connected(*this);
  user_->on_upstream_connected();
}

void UpstreamConnection::on_deadline(Milliseconds) {
  if (is_connected() || state_ == State::Idle) return;
  user_->on_upstream_connect_failed(is_awaiting_socket_ ? kNoAppSocket : ETIMEDOUT);
}

// ---- Endpoint -----------------------------------------------------------------------------------

Endpoint::Endpoint(Reactor& reactor, WorkerStats& stats, const Address& address,
                   const EndpointOptions& options)
    : reactor_(reactor),
      stats_(stats),
      address_(address),
      options_(options),
      text_(address.to_string()),
      pool_(options.pool_idle, options.pool_size_max) {}

Endpoint::~Endpoint() {
  close_idle();
  while (!http2_.empty()) http2_.back()->close({});
}

std::unique_ptr<UpstreamConnection> Endpoint::take_idle(UpstreamUser& user, bool is_checked) {
  while (auto connection = pool_.take()) {
    stats_.upstream_idle.subtract();
    Socket& socket = connection->socket();
    if (is_checked ? socket.is_stale() : socket.is_hung_up()) {
      connection->socket().close();
      reactor_.bury(std::move(connection));
      continue;
    }
    connection->lend_to(user);
    ++active_;
    return connection;
  }
  return nullptr;
}

Result<std::unique_ptr<UpstreamConnection>> Endpoint::connect(UpstreamUser& user) {
  auto connection = std::make_unique<UpstreamConnection>(*this, user);
  if (auto begun = connection->connect(reactor_, options_.socket); !begun) {
    return fail(begun.error());
  }
  ++active_;
  return connection;
}

void Endpoint::on_connected(UpstreamConnection& connection) {
  reactor_.timers().disarm(connection);
}

void Endpoint::put_idle(std::unique_ptr<UpstreamConnection> connection) {
  --active_;
  if (options_.pool_idle <= 0 || is_retired_ || connection->socket().is_hung_up()) {
    connection->socket().close();
    reactor_.bury(std::move(connection));
    return;
  }
  connection->become_idle();
  stats_.upstream_idle.add();
  if (auto oldest = pool_.put(std::move(connection), reactor_.now())) {
    stats_.upstream_idle.subtract();
    oldest->socket().close();
    reactor_.bury(std::move(oldest));
  }
  if (!is_armed()) reactor_.timers().arm(*this, *pool_.next_expiry());
}

void Endpoint::adopt_idle(Socket socket) {
  auto connection = std::make_unique<UpstreamConnection>(*this, std::move(socket));
  ++active_;
  put_idle(std::move(connection));
}

void Endpoint::detach(std::unique_ptr<UpstreamConnection> connection) {
  --active_;
  reactor_.bury(std::move(connection));
}

void Endpoint::discard(std::unique_ptr<UpstreamConnection> connection) {
  --active_;
  connection->stop_waiting();
  connection->socket().close();
  reactor_.bury(std::move(connection));
}

void Endpoint::drop_idle(UpstreamConnection& connection) {
  auto dropped = pool_.remove(&connection);
  if (!dropped) return;
  stats_.upstream_idle.subtract();
  dropped->socket().close();
  reactor_.bury(std::move(dropped));
}

void Endpoint::set_retired(bool is_retired) {
  is_retired_ = is_retired;
  if (is_retired) close_idle();
}

void Endpoint::close_idle() {
  std::vector<Http2Upstream*> idle;
  for (const auto& one : http2_) {
    if (one->streams() == 0) idle.push_back(one.get());
  }
  for (Http2Upstream* one : idle) one->close({});
  while (auto connection = pool_.take()) {
    stats_.upstream_idle.subtract();
    connection->socket().close();
    reactor_.bury(std::move(connection));
  }
}

// ---- HTTP/2 -------------------------------------------------------------------------------------

std::size_t Endpoint::active() const {
  if (!options_.is_http2) return active_;
  std::size_t streams = 0;
  for (const auto& connection : http2_) streams += connection->streams();
  return streams;
}

Http2Upstream* Endpoint::find_http2() {
  for (const auto& connection : http2_) {
    if (connection->has_room()) return connection.get();
  }
  return nullptr;
}

Result<Http2Upstream*> Endpoint::connect_http2(BufferPool& buffers) {
  auto made = std::make_unique<Http2Upstream>(reactor_, buffers, *this);
  if (auto begun = made->connect(); !begun) return fail(begun.error());
  http2_.push_back(std::move(made));
  return http2_.back().get();
}

void Endpoint::remove_http2(Http2Upstream& connection) {
  for (auto& one : http2_) {
    if (one.get() != &connection) continue;
    reactor_.bury(std::move(one));
    std::erase(http2_, nullptr);
    return;
  }
}

void Endpoint::on_deadline(Milliseconds now) {
  while (auto connection = pool_.expire(now)) {
    stats_.upstream_idle.subtract();
    connection->socket().close();
    reactor_.bury(std::move(connection));
  }
  if (const auto next = pool_.next_expiry()) reactor_.timers().arm(*this, *next);
}

// ---- EndpointTable ------------------------------------------------------------------------------

std::shared_ptr<Endpoint> EndpointTable::get(const Address& address,
                                             const EndpointOptions& options) {
  std::shared_ptr<Endpoint>& endpoint =
      endpoints_[Key{address, options.source, options.tls.get(), options.alpn, options.is_http2}];
  if (!endpoint || endpoint->options().connect_timeout != options.connect_timeout ||
      endpoint->options().pool_idle != options.pool_idle) {
    endpoint = std::make_shared<Endpoint>(reactor_, stats_, address, options);
  }
  return endpoint;
}

void EndpointTable::sweep() {
  std::erase_if(endpoints_, [](const auto& entry) {
    return entry.second.use_count() == 1 && entry.second->idle() == 0 &&
           entry.second->active() == 0 && entry.second->http2_connections() == 0;
  });
}

void EndpointTable::close_idle() {
  for (auto& [key, endpoint] : endpoints_) endpoint->close_idle();
}

void EndpointTable::follow_app(const AppPorts& before, const AppPorts& now) {
  for (auto& [key, endpoint] : endpoints_) {
    if (!endpoint->options().is_app) continue;
    const std::uint16_t port = endpoint->address().port();
    if (now.is_served_on(port)) {
      endpoint->set_retired(false);
    } else if (before.is_served_on(port)) {
      endpoint->set_retired(true);
    }
  }
}

std::map<std::uint16_t, std::size_t> EndpointTable::count_busy_app_ports() const {
  std::map<std::uint16_t, std::size_t> busy;
  for (const auto& [key, endpoint] : endpoints_) {
    if (endpoint->options().is_app) busy[endpoint->address().port()] += endpoint->active();
  }
  return busy;
}

}  // namespace pillion::proxy
