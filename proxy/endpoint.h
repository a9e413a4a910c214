// One address that we connect to, with its pool of idle connections. Lives in one worker; shared by
// the clusters and connections that lead to it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/address.h"
#include "proxy/app_ports.h"
#include "proxy/http2_upstream.h"
#include "proxy/idle_pool.h"
#include "proxy/reactor.h"
#include "proxy/stats.h"
#include "proxy/tls_context.h"
#include "proxy/upstream_connection.h"

namespace pillion::proxy {

class AppSockets;

struct EndpointOptions {
  std::optional<Address> source;  // local address of our connections
  Milliseconds connect_timeout = 2'000;
  Milliseconds pool_idle = 60'000;
  SocketOptions socket;
  std::size_t pool_size_max = 512;
  bool is_app = false;                   // leads to the service's own app
  AppSockets* sockets = nullptr;         // where sockets come from; null = we make them
  std::shared_ptr<const ClientTls> tls;  // shared with its upstream's other endpoints; null: none
  AlpnChoice alpn = AlpnChoice::None;
  bool is_http2 = false;
};

class Endpoint final : public Deadline {
 public:
  Endpoint(Reactor& reactor, WorkerStats& stats, const Address& address,
           const EndpointOptions& options);
  ~Endpoint() override;

  const Address& address() const { return address_; }
  const std::string& text() const { return text_; }  // "127.0.0.1:8080"
  const EndpointOptions& options() const { return options_; }
  // Connections in use; with HTTP/2 the streams on them.
  std::size_t active() const;
  std::size_t http2_connections() const { return http2_.size(); }
  std::size_t idle() const { return pool_.size(); }
  // The app has moved away: nothing new goes here, and what ends is not kept.
  bool is_retired() const { return is_retired_; }
  void set_retired(bool is_retired);

  // For a connection of ours, with the session of an earlier one.
  std::unique_ptr<TlsStream> make_tls() {
    return options_.tls->make_stream(options_.alpn, session_);
  }

  // An idle connection that still looks alive, lent to `user`; empty when there is none.
  // `is_checked` asks the kernel again just before (a system call), for what cannot be sent twice.
  std::unique_ptr<UpstreamConnection> take_idle(UpstreamUser& user, bool is_checked);
  Result<std::unique_ptr<UpstreamConnection>> connect(UpstreamUser& user);
  // Takes a healthy connection back, or ends one.
  void put_idle(std::unique_ptr<UpstreamConnection> connection);
  // A connected socket from elsewhere joins the pool.
  void adopt_idle(Socket socket);
  // Ends the bookkeeping of a connection whose socket was moved out.
  void detach(std::unique_ptr<UpstreamConnection> connection);
  void discard(std::unique_ptr<UpstreamConnection> connection);
  void on_connected(UpstreamConnection& connection);
  void drop_idle(UpstreamConnection& connection);  // by the connection itself, at its end
  void close_idle();

  // A connection with room for one more stream; nullptr when there is none.
  Http2Upstream* find_http2();
  Result<Http2Upstream*> connect_http2(BufferPool& buffers);
  void remove_http2(Http2Upstream& connection);  // by itself, at its end

  void on_deadline(Milliseconds now) override;

 private:
  Reactor& reactor_;
  WorkerStats& stats_;
  const Address address_;
  const EndpointOptions options_;
  const std::string text_;
  TlsSessionSlot session_;
  std::vector<std::unique_ptr<Http2Upstream>> http2_;
  std::size_t active_ = 0;
  bool is_retired_ = false;
  IdlePool<UpstreamConnection> pool_;
};

// The endpoints of one worker by address. An endpoint that nobody leads to is freed once its pool
// is empty.
class EndpointTable {
 public:
  EndpointTable(Reactor& reactor, WorkerStats& stats) : reactor_(reactor), stats_(stats) {}

  // Shared: clusters and connections of different age lead to the same endpoint.
  std::shared_ptr<Endpoint> get(const Address& address, const EndpointOptions& options);
  // Forgets the endpoints that only this table holds and that have no idle connections.
  void sweep();
  void close_idle();
  // Retires the endpoints of the app on ports where it is served no more, and takes others back.
  void follow_app(const AppPorts& before, const AppPorts& now);
  // Of the endpoints of the app: connections in use by port.
  std::map<std::uint16_t, std::size_t> count_busy_app_ports() const;

 private:
  struct Key {
    Address address;
    std::optional<Address> source;
    const ClientTls* tls = nullptr;
    AlpnChoice alpn = AlpnChoice::None;
    bool is_http2 = false;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return key.address.hash() * 31 + (key.source ? key.source->hash() : 0);
    }
  };

  Reactor& reactor_;
  WorkerStats& stats_;
  std::unordered_map<Key, std::shared_ptr<Endpoint>, KeyHash> endpoints_;
};

}  // namespace pillion::proxy
