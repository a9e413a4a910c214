#include "proxy/http2_connection.h"

#include <nghttp2/nghttp2.h>

#include "proxy/size_pool.h"
#include "proxy/worker.h"
#include "runtime/http1/head_parser.h"
#include "runtime/log.h"

namespace pillion::proxy {
namespace {

using http1::BodyKind;

Http2Limits limits_of(const config::ProxyConfig& config) {
  Http2Limits limits;
  limits.head_bytes_max = static_cast<std::size_t>(config.limits.header_size.value);
  limits.head_fields_max = config.limits.header_count;
  limits.streams_max = config.limits.max_streams;
  return limits;
}

}  // namespace

// ---- A stream -----------------------------------------------------------------------------------

class Http2Connection::Stream final : public Http2Stream, public Pooled, private Downstream {
 public:
  explicit Stream(Http2Connection& owner) : owner_(owner) {}
  ~Stream() {
    if (exchange_) owner_.worker_.give_exchange(std::move(exchange_));
    if (!out.is_empty()) out.release(owner_.worker_.buffers());
  }

  void start(bool is_end);
  void receive(std::string_view data);
  void receive_end();
  void on_room_again() {
    if (!exchange_) return;
    exchange_->touch();
    if (!is_response_ended_) exchange_->resume_response();
  }
  void finish(std::uint32_t error);
  void abort(Flag flag, std::string_view details) {
    if (exchange_) exchange_->abort(flag, details);
  }
  Exchange* exchange() const { return exchange_.get(); }
  bool needs_reset_after_end() const { return exchange_ && !is_receive_ended; }

 private:
  bool can_take() const override { return has_room(); }
  std::size_t held_bytes(bool) const override { return out.size(); }
  void resume_request() override {
    if (!exchange_ || exchange_->wants_body()) owner_.session_.consume(*this, unconsumed);
  }
  void send_informational(http1::ResponseHead& head) override;
  void begin_response(http1::ResponseHead& head, const http1::Framing& framing,
                      std::optional<std::uint64_t> declared_length) override;
  bool send_response(BodyParts& body, std::string_view trailer_section) override;
  void send_reply(const LocalReply& reply) override;
  void end_response() override { is_response_ended_ = true; }
  void truncate_response() override {
    is_response_ended_ = true;
    owner_.session_.reset_after_flush(*this, NGHTTP2_INTERNAL_ERROR);
  }
  void refuse_request() override {}
  void abort_exchange() override;
  void switch_protocols(http1::ResponseHead&, std::string_view, RelayFacts, Socket) override {
    PILLION_ASSERT(false);  // an exchange asks only for what the client asked for
  }
  void begin_tunnel(http1::ResponseHead&, std::string_view) override {
    PILLION_ASSERT(false);  // extended CONNECT is answered by 200
  }
  bool is_multiplexed() const override { return true; }
  std::string_view protocol_name() const override { return "HTTP/2"; }
  std::string_view via_prefix() const override { return "Via: 2 "; }

  bool parse_head(http1::RequestHead& parsed, bool is_websocket);
  void start_fields(Http2Fields& fields, int status);
  void add_own_fields(Http2Fields& fields);
  void give_exchange();

  Http2Connection& owner_;
  std::unique_ptr<Exchange> exchange_;
  bool is_body_expected_ = false;  // of the response
  bool is_response_ended_ = false;
};

// The head is complete: what it says decides, as if it had come by HTTP/1.
void Http2Connection::Stream::start(bool is_end) {
  Worker& worker = owner_.worker_;
  DownstreamContext& context = owner_.context_;
  Http2HeadReader& head = owner_.session_.head();
  is_head_received = true;
  exchange_ = worker.take_exchange();
  if (head.is_too_large()) {
    exchange_->begin_malformed(*this, context);
    exchange_->reject(431, Flag::LimitExceeded, "the request head is larger than the limit");
    return;
  }
  const bool is_websocket = head.is_connect() && head.protocol() == "websocket";
  http1::RequestHead& parsed = worker.request_head();
  if (!head.build_request(parsed) && !parse_head(parsed, is_websocket)) return;
  http1::Framing framing;
  if (const auto declared = http1::parse_decimal(parsed.fields.find(http1::FieldId::ContentLength));
      parsed.fields.has(http1::FieldId::ContentLength) && declared) {
    framing = {BodyKind::Length, *declared};
  } else if (!is_end && !is_websocket) {
    framing = {BodyKind::Chunked, 0};
  }
  const std::uint64_t exchange_id = exchange_->id();
  exchange_->begin(*this, context, parsed);
  if (!exchange_->accept(parsed, framing)) return;
  exchange_->prepare(parsed);
  if (is_end) {
    BodyParts body;
    body.is_done = true;
    exchange_->send_body(body, {});
  }
  if (exchange_ && exchange_->id() == exchange_id) exchange_->dispatch();
}

// For a head that is rare or wrong; false after it was refused.
bool Http2Connection::Stream::parse_head(http1::RequestHead& parsed, bool is_websocket) {
  std::string& websocket_key = owner_.worker_.scratch();
  websocket_key.clear();
  if (is_websocket) assign_websocket_key(owner_.worker_.random(), websocket_key);
  const std::string_view text = owner_.session_.head().finish_request(websocket_key);
  http1::MessageError error{400, "the request's fields are malformed"};
  if (!text.empty()) {
    http1::ParseProgress progress;
    const http1::Limits limits{65535, http1::kFieldsMax};
    const auto result = http1::parse_request(text, progress, limits, parsed);
    if (result.status == http1::ParseStatus::Done) return true;
    error = result.error.status != 0 ? result.error
                                     : http1::MessageError{400, "the request head is malformed"};
  }
  exchange_->begin_malformed(*this, owner_.context_);
  exchange_->reject(error.status, Flag::DownstreamProtocolError, error.reason);
  return false;
}

void Http2Connection::Stream::receive(std::string_view data) {
  if (!exchange_ || is_response_ended_) {
    owner_.session_.consume(*this, unconsumed);  // nobody wants it any more
    return;
  }
  BodyParts body;
  body.add_data(data);
  exchange_->send_body(body, {});
  if (!exchange_ || exchange_->wants_body()) owner_.session_.consume(*this, unconsumed);
}

void Http2Connection::Stream::receive_end() {
  if (!exchange_ || is_response_ended_) return;
  BodyParts body;
  body.is_done = true;
  exchange_->send_body(body, owner_.session_.head().finish_trailers());
}

void Http2Connection::Stream::start_fields(Http2Fields& fields, int status) {
  fields.clear();
  fields.add_number(":status", static_cast<std::uint64_t>(status));
}

void Http2Connection::Stream::add_own_fields(Http2Fields& fields) {
  if (!exchange_->request_id().empty()) fields.add_lower("x-request-id", exchange_->request_id());
  std::string& via = owner_.worker_.scratch();
  via.assign(exchange_->upstream_version()).append(1, ' ').append(owner_.context_.config().via);
  fields.add_lower("via", via);
}

void Http2Connection::Stream::send_informational(http1::ResponseHead& response) {
  Http2Fields& fields = owner_.worker_.http2_fields();
  start_fields(fields, response.status);
  fields.add_all(response.fields, true);
  owner_.session_.submit_informational(*this, fields);
}

void Http2Connection::Stream::begin_response(http1::ResponseHead& response,
                                             const http1::Framing& framing,
                                             std::optional<std::uint64_t> declared_length) {
  Http2Fields& fields = owner_.worker_.http2_fields();
  start_fields(fields, response.status);
  fields.add_all(response.fields, true);
  add_own_fields(fields);
  if (framing.kind == BodyKind::Length) fields.add_number("content-length", framing.length);
  if (declared_length) fields.add_number("content-length", *declared_length);
  is_body_expected_ =
      framing.kind != BodyKind::None && !(framing.kind == BodyKind::Length && framing.length == 0);
  owner_.session_.submit_head(*this, fields, is_body_expected_);
}

bool Http2Connection::Stream::send_response(BodyParts& body, std::string_view trailer_section) {
  if (body.is_failed) return true;
  if (is_body_expected_) owner_.session_.send(*this, body, trailer_section);
  return true;
}

void Http2Connection::Stream::send_reply(const LocalReply& reply) {
  Http2Fields& fields = owner_.worker_.http2_fields();
  start_fields(fields, reply.is_grpc ? 200 : reply.status);
  if (reply.is_grpc || reply.fields.empty()) {
    fields.add_lower("content-type",
                     reply.is_grpc ? "application/grpc" : "text/plain; charset=utf-8");
  } else {
    for (const auto& [name, value] : reply.fields) fields.add(name, value);
  }
  fields.add_lower("proxy-status", reply.proxy_status);
  add_own_fields(fields);
  const bool has_body = !reply.is_grpc && !exchange_->is_head();
  if (reply.is_grpc) {
    fields.add_number("grpc-status", static_cast<std::uint64_t>(grpc_status_of(reply.status)));
    fields.add_lower("grpc-message", grpc_message_of(reply.reason));
  } else {
    fields.add_number("content-length", reply.body.size());
  }
  owner_.session_.submit_head(*this, fields, has_body);
  if (has_body) {
    BodyParts body;
    body.add_data(reply.body);
    body.is_done = true;
    owner_.session_.send(*this, body, {});
  }
  if (reply.ends_connection) owner_.begin_drain();
  end_response();
}

void Http2Connection::Stream::give_exchange() {
  if (!exchange_) return;
  exchange_->record();
  owner_.worker_.give_exchange(std::move(exchange_));
}

void Http2Connection::Stream::abort_exchange() {
  is_response_ended_ = true;
  give_exchange();
  is_out_ended = false;  // or its end would be sent
  out.release(owner_.worker_.buffers());
  owner_.session_.reset(*this, NGHTTP2_CANCEL);
}

// The stream is gone. Unless the response was complete, the client did that.
void Http2Connection::Stream::finish(std::uint32_t) {
  if (!exchange_) return;
  if (is_response_ended_) {
    give_exchange();
  } else {
    exchange_->abort(Flag::DownstreamClosed, "downstream_reset");
  }
}

// ---- The connection -----------------------------------------------------------------------------

Http2Connection::Http2Connection(Worker& worker, DownstreamContext context, Socket socket,
                                 std::string_view first)
    : worker_(worker),
      context_(std::move(context)),
      socket_(std::move(socket)),
      session_(Http2Session::Role::Server, worker.reactor(), worker.buffers(), socket_, *this,
               limits_of(context_.config())),
      first_(first),
      begun_at_(static_cast<std::uint32_t>(worker.reactor().now())) {
  socket_.attach(*this);
}

Http2Connection::~Http2Connection() = default;

void Http2Connection::begin() {
  arm(context_.config().timeouts.connection_idle);
  if (worker_.is_draining_inbound() && context_.direction == Direction::Inbound) begin_drain();
  session_.receive(first_);
  std::string().swap(first_);
  if (is_closed_) return;
  session_.read(*this);
}

void Http2Connection::on_events(std::uint32_t events) {
  if (is_closed_) {
    if (is_lingering_) {
      socket_.note_events(events);
      linger();
    }
    return;
  }
  socket_.note_events(events);
  if (!session_.is_flushed() && socket_.is_writable()) session_.schedule();
  session_.read(*this);
}

void Http2Connection::arm(std::chrono::milliseconds delay) {
  worker_.reactor().timers().arm(*this, worker_.reactor().now() + delay.count());
}

// A head that was begun must become whole; nothing else may come between its frames.
void Http2Connection::watch_head(bool is_pending) {
  is_head_pending_ = is_pending;
  if (is_pending) {
    arm(context_.config().timeouts.request_headers);
  } else {
    worker_.reactor().timers().disarm(*this);
  }
}

void Http2Connection::on_deadline(Milliseconds) {
  if (is_lingering_) {
    finish_close();
  } else if (is_head_pending_) {
    log::debug("HTTP/2 from {}: a request's head took too long", context_.peer.to_string());
    session_.finish_shutdown();
    session_.flush();
    close();
  } else if (streams_.empty()) {
    if (is_shut_) {
      close();
    } else {
      finish_drain();  // once the GOAWAY is written, the session ends
      arm(context_.config().timeouts.delayed_close);
    }
  }
}

Http2Stream* Http2Connection::on_stream_begun(std::int32_t id) {
  if (is_closed_) return nullptr;
  watch_head(true);
  auto stream = std::make_unique<Stream>(*this);
  stream->id = id;
  stream->index = streams_.size();
  Stream* begun = stream.get();
  streams_.push_back(std::move(stream));
  ++requests_;
  const unsigned requests_max = context_.config().limits.max_requests_per_connection;
  const bool is_last = requests_max != 0 && requests_ >= requests_max;
  if (is_last || worker_.overload() != OverloadLevel::Normal) finish_drain();
  return begun;
}

void Http2Connection::on_head(Http2Stream& stream, bool is_end) {
  watch_head(false);
  static_cast<Stream&>(stream).start(is_end);
}

void Http2Connection::on_data(Http2Stream& stream, std::string_view data) {
  static_cast<Stream&>(stream).receive(data);
}

void Http2Connection::on_end(Http2Stream& stream) { static_cast<Stream&>(stream).receive_end(); }

void Http2Connection::on_room(Http2Stream& stream) { static_cast<Stream&>(stream).on_room_again(); }

// RFC 9113 §8.1: after a whole response, the rest of the request is not needed.
void Http2Connection::on_end_sent(Http2Stream& stream) {
  if (static_cast<Stream&>(stream).needs_reset_after_end()) {
    session_.reset(stream, NGHTTP2_NO_ERROR);
  }
}

void Http2Connection::on_closed(Http2Stream& stream, std::uint32_t error) {
  if (is_closed_) return;
  auto closed = std::move(streams_[stream.index]);
  if (stream.index + 1 != streams_.size()) {
    streams_[stream.index] = std::move(streams_.back());
    streams_[stream.index]->index = stream.index;
  }
  streams_.pop_back();
  if (is_head_pending_ && !stream.is_head_received) watch_head(false);
  closed->finish(error);
  worker_.reactor().bury(std::move(closed));
  if (!streams_.empty() || is_closed_) return;
  arm(context_.config().timeouts.connection_idle);
}

void Http2Connection::on_goaway(std::int32_t, std::uint32_t) {}  // it opens no more streams

void Http2Connection::on_session_failed(std::string_view reason) {
  log::debug("HTTP/2 from {}: {}", context_.peer.to_string(), reason);
  close();
}

void Http2Connection::begin_drain() {
  if (is_draining_ || is_closed_) return;
  is_draining_ = true;
  session_.announce_shutdown();
}

void Http2Connection::finish_drain() {
  if (is_shut_ || is_closed_) return;
  is_shut_ = true;
  session_.finish_shutdown();
}

void Http2Connection::abort(Flag flag, std::string_view details) {
  if (is_closed_) return;
  for (auto& stream : streams_) stream->abort(flag, details);
  session_.finish_shutdown();
  session_.flush();
  close();
}

void Http2Connection::add_exchanges(std::vector<Exchange*>& exchanges) const {
  for (const auto& stream : streams_) {
    if (Exchange* exchange = stream->exchange()) exchanges.push_back(exchange);
  }
}

void Http2Connection::close() {
  if (is_closed_) return;
  is_closed_ = true;
  worker_.reactor().timers().disarm(*this);
  for (auto& stream : streams_) stream->finish(NGHTTP2_CANCEL);
  for (auto& stream : streams_) worker_.reactor().bury(std::move(stream));
  streams_.clear();
  if (!session_.is_ended_by_us() || socket_.is_hung_up()) {
    finish_close();
    return;
  }
  // With unread bytes a close would be a reset, and could destroy the GOAWAY.
  is_lingering_ = true;
  socket_.shutdown_write();
  arm(context_.config().timeouts.delayed_close);
  linger();
}

void Http2Connection::linger() {
  const auto buffer = worker_.buffers().read_buffer();
  while (socket_.is_readable()) {
    const IoStatus status = socket_.read(buffer.data(), buffer.size()).status;
    if (status == IoStatus::WouldBlock) return;
    if (status == IoStatus::Ok) continue;
    finish_close();
    return;
  }
}

void Http2Connection::finish_close() {
  is_lingering_ = false;
  worker_.reactor().timers().disarm(*this);
  socket_.close();
  worker_.remove(*this);
}

}  // namespace pillion::proxy
