// The first moments of a connection on a port with TLS: finds out whether the client speaks TLS
// (`permissive`), does the handshake, and hands the connection on to what serves it. Owned by the
// worker meanwhile.
#pragma once

#include <cstdint>
#include <string_view>

#include "proxy/http_connection.h"
#include "proxy/socket.h"
#include "proxy/tls_context.h"

namespace pillion::proxy {

class Worker;

class TlsAcceptor final : public Watcher, public Deadline {
 public:
  // `protocol` is what the port declares.
  TlsAcceptor(Worker& worker, DownstreamContext context, config::ProxyProtocol protocol,
              config::MutualTls mode, Fd fd);

  // Looks at what is there already; call once, after the worker owns it.
  void begin();
  void abort();
  Direction direction() const { return context_.direction; }

  void on_events(std::uint32_t events) override;
  void on_deadline(Milliseconds now) override;

 private:
  enum class State : std::uint8_t { Peeking, Handshaking, Done };

  void advance();
  void peek();
  void start_handshake();
  void accept_peer();
  void hand_on(config::ProxyProtocol protocol);
  void refuse(std::string_view details, std::string_view reason);
  void close();

  Worker& worker_;
  DownstreamContext context_;
  Socket socket_;
  config::ProxyProtocol protocol_;
  State state_;
  std::int64_t started_ns_;
};

}  // namespace pillion::proxy
