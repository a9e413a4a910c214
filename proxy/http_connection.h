// A downstream HTTP/1 connection: reads requests one after the other, gives each to an exchange,
// and streams bodies both ways with back-pressure. It reads from one side only while the other side
// has taken everything, so an exchange holds at most one read of memory per direction.
//
// The code is split by subject: http_connection.cc (life of the connection, reading, closing),
// http_request.cc (from a head to an attempt), http_response.cc (from the upstream to the client),
// http_failure.cc (local replies, retries, aborts).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "proxy/buffers.h"
#include "proxy/cluster.h"
#include "proxy/exchange.h"
#include "proxy/router.h"
#include "proxy/socket.h"
#include "proxy/stats.h"
#include "proxy/upstream_connection.h"
#include "runtime/http1/head_parser.h"

namespace pillion::proxy {

class Worker;

// What a connection is about, known when it was accepted.
struct DownstreamContext {
  ListenerKind kind = ListenerKind::Outbound;
  Direction direction = Direction::Outbound;
  Address peer;
  Address destination;                       // where it goes unless it is routed elsewhere
  std::shared_ptr<Endpoint> endpoint;        // of `destination`; shared, see EndpointTable
  std::optional<std::size_t> upstream;       // of an explicit listener
  std::shared_ptr<const RouteTable> routes;  // shared, see RouteTable
  std::string_view tls_version;              // "TLSv1.3"; empty for plain text
  std::string peer_uri;                      // the verified peer's SPIFFE id, "" when it has none
  std::string client_certificate;            // the value of X-Forwarded-Client-Cert
};

class HttpConnection final : public Watcher, public Deadline, private UpstreamUser {
 public:
  // `first` was read from the socket already.
  HttpConnection(Worker& worker, DownstreamContext context, Socket socket, std::string_view first);
  ~HttpConnection() override;

  // Handles the bytes that are there already; call once, after the worker owns the connection.
  void begin();
  // Inbound drain: an idle connection closes, a busy one says `Connection: close`.
  void close_if_idle();
  // The drain's deadline: ends it with what is under way.
  void abort(Flag flag, std::string_view details);
  bool is_idle() const { return state_ == State::Head && held_.is_empty(); }
  Direction direction() const { return context_.direction; }

  void on_events(std::uint32_t events) override;
  void on_deadline(Milliseconds now) override;

 private:
  enum class State : std::uint8_t {
    Head,       // between requests, or inside a head
    Exchange,   // request and response under way
    Flushing,   // the response is complete but not yet written
    Closing,    // a last response is being written, then Lingering
    Lingering,  // our side is shut; reading on so that the client gets to see the response
    Closed,
  };

  // ---- http_connection.cc
  bool is_closed() const { return state_ == State::Closed; }
  bool wants_bytes() const;
  void read_downstream();
  void on_bytes(std::string_view bytes);
  std::size_t process(std::string_view bytes);
  void process_held();
  void on_client_end();
  void on_client_gone();
  void flush_downstream();
  bool send_downstream(iovec* parts, std::size_t count);
  void finish_exchange();
  void record_exchange();
  void arm(std::chrono::milliseconds delay);
  void close_gracefully();
  void close();

  // ---- http_request.cc
  std::size_t start_exchange(http1::RequestHead& head, std::string_view rest);
  void take_facts(const http1::RequestHead& head);
  bool is_request_acceptable(http1::RequestHead& head);
  bool choose_destination();
  void build_request(http1::RequestHead& head);
  std::size_t take_early_body(std::string_view rest);
  std::size_t feed_request_body(std::string_view bytes);
  std::size_t feed_chunked_body(std::string_view bytes);
  bool forward_request_parts(const iovec* parts, std::size_t count);
  void attempt();
  void write_upstream();
  void after_request_sent();

  // ---- http_response.cc
  void on_upstream_connected() override;
  void on_upstream_connect_failed(int error) override;
  void on_upstream_ready() override;
  void read_upstream();
  void on_response_bytes(std::string_view bytes);
  bool begin_response(http1::ResponseHead& head, std::string& out);
  void forward_informational(http1::ResponseHead& head);
  void switch_protocols(http1::ResponseHead& head, std::string_view rest);
  void forward_body(std::string_view head, std::string_view bytes);
  void on_upstream_end(int error);
  void response_done(bool is_upstream_clean);

  // ---- http_failure.cc
  bool retry_if_safe();
  void fail_upstream(int status, Flag flag, std::string_view details, std::string reason);
  void reject(int status, Flag flag, std::string_view reason);
  void reply_locally(int status, Flag flag, std::string_view details, std::string_view reason);
  void truncate_response(Flag flag, std::string_view details);
  void abort_exchange(Flag flag, std::string_view details);
  void release_upstream(bool is_reusable);
  bool on_request_write_failed();
  void on_exchange_timeout();

  Worker& worker_;
  DownstreamContext context_;
  Socket socket_;
  ByteQueue held_;  // received, not yet consumed
  ByteQueue out_;   // to the client
  std::unique_ptr<Exchange> exchange_;
  RouteStats* destination_stats_ = nullptr;
  std::string peer_text_;
  std::uint64_t exchange_id_ = 0;  // tells an exchange from the next in the same memory
  http1::ParseProgress head_progress_;
  unsigned requests_ = 0;
  State state_ = State::Head;
  bool is_processing_ = false;
  bool is_closing_after_response_ = false;
  bool is_reset_on_close_ = false;
  bool is_head_timer_armed_ = false;
  bool is_taking_early_body_ = false;
  bool needs_lingering_ = false;
};

// The end of a chunked body with the trailers that may travel. False when they are malformed.
bool append_last_chunk(std::string_view trailer_section, std::string& out);

}  // namespace pillion::proxy
