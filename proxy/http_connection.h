// A downstream HTTP/1 connection: reads requests one after the other and gives each to an exchange,
// whose client's side it is.
//
// The code is split by subject: http_connection.cc (life of the connection, reading, closing),
// http_downstream.cc (what exchanges ask of it: heads, bodies, replies).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "proxy/buffers.h"
#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/owned_list.h"
#include "proxy/shedding.h"
#include "proxy/socket.h"
#include "runtime/http1/head_parser.h"

namespace pillion::proxy {

class Worker;

class HttpConnection final : public Watcher, public Deadline, public Owned, private Downstream {
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
  // Young, and nothing has come on it.
  bool is_awaiting_first(Milliseconds now) const {
    return is_idle() && requests_ == 0 &&
           static_cast<std::uint32_t>(now) - begun_at_ < kFirstRequestGrace;
  }
  // A part of a head is held, and of nothing else.
  bool is_beginning() const { return state_ == State::Head && !held_.is_empty(); }
  void refuse_head();  // 503, for lack of memory
  // Of an idle connection, what the client has not taken of the last response is not worth keeping.
  void drop_unsent() { is_reset_on_close_ |= socket_.kernel_bytes() >= kHoldingMin; }
  Exchange* exchange() const { return exchange_.get(); }  // null between requests
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
  enum class Coding : std::uint8_t { Plain, Chunked, UntilClose };

  // ---- http_connection.cc
  bool is_closed() const { return state_ == State::Closed; }
  bool wants_bytes() const;
  void read_downstream();
  void on_bytes(std::string_view bytes);
  std::size_t process(std::string_view bytes);
  void process_held();
  std::size_t become_http2(std::string_view first);
  std::size_t start_exchange(http1::RequestHead& head, std::string_view rest);
  void start_malformed(const http1::MessageError& error, Flag flag);
  std::size_t feed_request_body(std::string_view bytes);
  std::size_t feed_chunked_body(std::string_view bytes);
  void on_client_end();
  void on_client_gone();
  void flush_downstream();
  bool send_downstream(iovec* parts, std::size_t count);
  void finish_exchange();
  void give_exchange();
  void arm(std::chrono::milliseconds delay);
  void close_gracefully();
  void close();
  bool is_draining() const;

  // ---- http_downstream.cc
  bool can_take() const override { return out_.is_empty(); }
  std::size_t held_bytes(bool counts_sockets) const override {
    return held_.size() + out_.size() + (counts_sockets ? socket_.kernel_bytes() : 0);
  }
  void resume_request() override { read_downstream(); }
  void send_informational(http1::ResponseHead& head) override;
  void begin_response(http1::ResponseHead& head, const http1::Framing& framing,
                      std::optional<std::uint64_t> declared_length) override;
  bool send_response(BodyParts& body, std::string_view trailer_section) override;
  void send_reply(const LocalReply& reply) override;
  void end_response() override;
  void truncate_response() override;
  void refuse_request() override;
  void abort_exchange() override;
  void switch_protocols(http1::ResponseHead& head, std::string_view rest, RelayFacts facts,
                        Socket upstream) override;
  void begin_tunnel(http1::ResponseHead& head, std::string_view accept) override;
  std::string_view protocol_name() const override { return "HTTP/1.1"; }
  std::string_view via_prefix() const override { return "Via: 1.1 "; }
  bool is_exchanging() const { return state_ == State::Exchange || state_ == State::Flushing; }

  Worker& worker_;
  DownstreamContext context_;
  Socket socket_;
  ByteQueue held_;  // received, not yet consumed
  ByteQueue out_;   // to the client
  std::unique_ptr<Exchange> exchange_;
  std::uint64_t exchanges_ = 0;  // given back so far
  http1::ParseProgress head_progress_;
  Coding response_coding_ = Coding::Plain;

  const std::uint32_t begun_at_;  // the reactor's milliseconds, their low half
  unsigned requests_ = 0;
  State state_ = State::Head;
  bool is_processing_ = false;
  bool is_closing_after_response_ = false;
  bool is_reset_on_close_ = false;
  bool is_head_timer_armed_ = false;
  bool is_head_pending_ = false;  // a response's head is in the worker's scratch
  bool needs_lingering_ = false;
  bool is_tunnel_ = false;  // after a 101 of ours: bytes both ways, in an exchange that stays
};

}  // namespace pillion::proxy
