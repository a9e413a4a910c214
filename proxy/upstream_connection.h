// One connection to an endpoint: connecting, serving one exchange, or idle in the endpoint's pool.
// Owned by the exchange while in use, by the pool while idle.
#pragma once

#include <cstdint>
#include <memory>

#include "proxy/app_sockets.h"
#include "proxy/reactor.h"
#include "proxy/socket.h"
#include "proxy/timer_wheel.h"

namespace pillion::proxy {

class Endpoint;

// Who uses a connection. Calls come from the reactor, never from inside a call of the user's own.
class UpstreamUser {
 public:
  virtual void on_upstream_connected() = 0;
  // ETIMEDOUT for our own timeout, EPROTO when TLS failed (see TlsStream::failure).
  virtual void on_upstream_connect_failed(int error) = 0;
  virtual void on_upstream_ready() = 0;  // readable, writable or broken

 protected:
  ~UpstreamUser() = default;
};

class UpstreamConnection final : public Watcher, public Deadline, private AppSockets::Waiter {
 public:
  UpstreamConnection(Endpoint& endpoint, UpstreamUser& user) : endpoint_(endpoint), user_(&user) {}
  // Takes over a connected socket, unused so far.
  UpstreamConnection(Endpoint& endpoint, Socket socket);
  ~UpstreamConnection() override;

  // Begins to connect; the user hears of the outcome later.
  Result<void> connect(Reactor& reactor, const SocketOptions& options);

  bool is_connected() const { return state_ == State::InUse; }
  bool was_reused() const { return uses_ > 1; }
  Endpoint& endpoint() { return endpoint_; }
  Socket& socket() { return socket_; }

  void lend_to(UpstreamUser& user);
  void become_idle();
  // No socket is wanted any more; before it is given up.
  void stop_waiting();

  void on_events(std::uint32_t events) override;
  void on_deadline(Milliseconds now) override;

 private:
  enum class State : std::uint8_t { Connecting, Handshaking, InUse, Idle };

  void advance_handshake();
  void become_connected();

  Result<void> connect_to_app(Reactor& reactor);
  Result<void> connect_on(Fd fd);
  void on_app_socket(Fd socket) override;

  Endpoint& endpoint_;
  UpstreamUser* user_;
  Reactor* reactor_ = nullptr;       // set where sockets come from elsewhere
  bool is_awaiting_socket_ = false;  // connecting, still without a socket
  Socket socket_;
  unsigned uses_ = 1;
  State state_ = State::Connecting;
};

}  // namespace pillion::proxy
