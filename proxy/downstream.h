// The client's side of an exchange, whatever protocol it speaks: what a connection knows of the
// client, and what an exchange asks of it. HTTP/1 connections and HTTP/2 streams implement it; the
// exchange never sees how a message is framed there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/address.h"
#include "proxy/body_parts.h"
#include "proxy/cluster.h"
#include "proxy/router.h"
#include "proxy/socket.h"
#include "proxy/stats.h"
#include "runtime/http1/framing.h"
#include "runtime/http1/head.h"

namespace pillion::proxy {

struct RelayFacts;

// What the handshake told of a client.
struct ClientIdentity {
  std::string_view tls_version;    // "TLSv1.3"
  std::string peer_uri;            // the verified peer's SPIFFE id, "" when it has none
  std::string client_certificate;  // the value of X-Forwarded-Client-Cert
};

// What a connection is about, known when it was accepted. Thousands of them wait idle, so what only
// some of them have is kept apart.
struct DownstreamContext {
  ListenerKind kind = ListenerKind::Outbound;
  Direction direction = Direction::Outbound;
  bool is_destination_http2 = false;  // what `destination` is spoken to in
  bool is_http2_declared = false;     // the listener's protocol
  bool is_upstream_fallback = false;  // `upstream` is for what no name leads to
  bool is_peer_trusted = false;       // what it says of its clients, see forwarded.h
  Address peer;
  Address destination;                             // where it goes unless it is routed elsewhere
  std::shared_ptr<Endpoint> endpoint;              // of `destination`; shared, see EndpointTable
  std::optional<std::size_t> upstream;             // of an explicit listener
  std::shared_ptr<const RouteTable> routes;        // shared, see RouteTable
  RouteStats* destination_stats = nullptr;         // set with the first request to `destination`
  std::unique_ptr<const ClientIdentity> identity;  // null for plain text

  const config::ProxyConfig& config() const { return routes->snapshot->config(); }
  std::string_view tls_version() const { return identity ? identity->tls_version : ""; }
  std::string_view peer_uri() const {
    return identity ? std::string_view(identity->peer_uri) : std::string_view();
  }
  std::string_view client_certificate() const {
    return identity ? std::string_view(identity->client_certificate) : std::string_view();
  }
};

// An answer of our own.
struct LocalReply {
  int status = 0;
  std::string body;
  std::string proxy_status;  // RFC 9209
  // Instead of text/plain: of an external check's answer.
  std::vector<std::pair<std::string, std::string>> fields;
  bool is_grpc = false;     // say it as gRPC does: 200, grpc-status
  std::string_view reason;  // for grpc-message
  // The connection keeps the snapshot that it began with, and a new one may know better.
  bool ends_connection = false;
};

// A drain leaves a connection alone for this long before its first request: who has just connected
// is about to send one, and would find the connection closed. (nginx and haproxy wait for as long
// as a head may take, Envoy until the end of the drain.)
inline constexpr std::uint32_t kFirstRequestGrace = 1000;  // ms

// Calls may end the exchange, and with it begin the next one in the same memory: see Exchange::id.
class Downstream {
 public:
  // Whether what was handed over has been taken, so that more of the response may come.
  virtual bool can_take() const = 0;
  // Waiting to be written to the client, or received from it and not used; with `counts_sockets`,
  // what the kernel holds for it, too.
  virtual std::size_t held_bytes(bool counts_sockets) const = 0;
  // There is room for more of the request's body.
  virtual void resume_request() = 0;
  // Hop-by-hop fields are marked as removed in these heads; X-Request-ID and Via are to be added.
  virtual void send_informational(http1::ResponseHead& head) = 0;
  // Followed at once by send_response(), perhaps with nothing in it.
  virtual void begin_response(http1::ResponseHead& head, const http1::Framing& framing,
                              std::optional<std::uint64_t> declared_length) = 0;
  // Body, and its end with the raw trailer section. False when the client is gone or the trailers
  // are malformed (`body.is_failed`).
  virtual bool send_response(BodyParts& body, std::string_view trailer_section) = 0;
  virtual void send_reply(const LocalReply& reply) = 0;
  // The response is complete; the exchange is recorded and given back once it is written.
  virtual void end_response() = 0;
  // The rest of a response that began will not come, and the client must see that.
  virtual void truncate_response() = 0;
  // The request broke the rules: an answer may follow, but nothing more is read of it.
  virtual void refuse_request() = 0;
  // Everything ends at once; the exchange is recorded.
  virtual void abort_exchange() = 0;
  // 101: `rest` came behind the head.
  virtual void switch_protocols(http1::ResponseHead& head, std::string_view rest, RelayFacts facts,
                                Socket upstream) = 0;
  // 101 for a WebSocket whose other side is a stream: bodies without an end of their own follow.
  virtual void begin_tunnel(http1::ResponseHead& head, std::string_view accept) = 0;
  // It shares a connection with others, so that 101 cannot take the socket over.
  virtual bool is_multiplexed() const { return false; }
  virtual std::string_view protocol_name() const = 0;  // "HTTP/1.1"
  virtual std::string_view via_prefix() const = 0;     // "Via: 1.1 "

 protected:
  ~Downstream() = default;
};

}  // namespace pillion::proxy
