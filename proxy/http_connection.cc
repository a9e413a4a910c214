// Life of a downstream HTTP/1 connection: reading, writing, closing. See http_connection.h.
#include "proxy/http_connection.h"

#include <algorithm>

#include "proxy/worker.h"

namespace pillion::proxy {
namespace {

// Reads of one connection before others get their turn.
// RFC 9113 §3.4; as HTTP/1 it would be a request that nobody makes.
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

}  // namespace

HttpConnection::HttpConnection(Worker& worker, DownstreamContext context, Socket socket,
                               std::string_view first)
    : worker_(worker),
      context_(std::move(context)),
      socket_(std::move(socket)),
      begun_at_(static_cast<std::uint32_t>(worker.reactor().now())) {
  socket_.attach(*this);
  if (!first.empty()) held_.append(worker_.buffers(), first);
}

HttpConnection::~HttpConnection() = default;

void HttpConnection::begin() {
  arm(context_.config().timeouts.request_headers);
  if (!held_.is_empty()) process_held();
  if (!is_closed()) read_downstream();
}

void HttpConnection::arm(std::chrono::milliseconds delay) {
  worker_.reactor().timers().arm(*this, worker_.reactor().now() + delay.count());
}

bool HttpConnection::is_draining() const {
  return worker_.is_draining_inbound() && context_.direction == Direction::Inbound;
}

// ---- Reading ------------------------------------------------------------------------------------

void HttpConnection::on_events(std::uint32_t events) {
  if (is_closed()) return;
  socket_.note_events(events);
  if (!out_.is_empty() && socket_.is_writable()) flush_downstream();
  if (is_closed()) return;
  if (socket_.is_broken() && state_ != State::Lingering) {
    on_client_gone();
    return;
  }
  read_downstream();
}

// Whether there is room for what the client may send now.
bool HttpConnection::wants_bytes() const {
  switch (state_) {
    case State::Head: return out_.is_empty();
    case State::Exchange: return exchange_->wants_body();
    case State::Lingering: return true;
    case State::Flushing:
    case State::Closing:
    case State::Closed: return false;
  }
  return false;
}

void HttpConnection::read_downstream() {
  int turns = worker_.buffers().reads_per_turn();
  while (wants_bytes() && socket_.is_readable()) {
    if (turns-- == 0) {
      socket_.rearm(*this);
      return;
    }
    const auto buffer = worker_.buffers().read_buffer();
    const IoResult result = socket_.read(buffer.data(), buffer.size());
    switch (result.status) {
      case IoStatus::Ok: on_bytes({buffer.data(), result.bytes}); break;
      case IoStatus::WouldBlock: return;
      case IoStatus::Eof: on_client_end(); return;
      case IoStatus::Failed: on_client_gone(); return;
    }
  }
}

void HttpConnection::on_bytes(std::string_view bytes) {
  if (state_ == State::Lingering) return;
  if (state_ == State::Exchange) {
    const std::uint64_t exchanges = exchanges_;
    const std::size_t used = feed_request_body(bytes);
    if (is_closed() || state_ == State::Closing || state_ == State::Lingering) return;
    // What follows the body is the next request; it waits for this one's response.
    if (used < bytes.size()) held_.append(worker_.buffers(), bytes.substr(used));
    if (exchanges != exchanges_) process_held();
    return;
  }
  if (!held_.is_empty()) {
    held_.append(worker_.buffers(), bytes);
    process_held();
    return;
  }
  is_processing_ = true;
  const std::size_t used = process(bytes);
  is_processing_ = false;
  if (is_closed() || state_ == State::Closing || state_ == State::Lingering) return;
  if (used < bytes.size()) {
    held_.append(worker_.buffers(), bytes.substr(used));
    if (state_ == State::Head && head_progress_.bytes_scanned == 0) process_held();
  }
}

// Starts the requests at the front of `bytes`, one after the other as each is answered; returns the
// bytes that were used.
std::size_t HttpConnection::process(std::string_view bytes) {
  std::size_t used = 0;
  if (requests_ == 0 && bytes.starts_with(kPreface.substr(0, 4))) {
    if (bytes.size() < kPreface.size()) return 0;
    if (bytes.starts_with(kPreface)) return become_http2(bytes);
  }
  const auto& limits = context_.config().limits;
  while (state_ == State::Head && out_.is_empty() && used < bytes.size()) {
    http1::RequestHead& head = worker_.request_head();
    const http1::Limits head_limits{static_cast<std::size_t>(limits.header_size.value),
                                    limits.header_count};
    const auto result = http1::parse_request(bytes.substr(used), head_progress_, head_limits, head);
    if (result.status == http1::ParseStatus::NeedMore) {
      if (worker_.overload() >= OverloadLevel::Refusing) {
        refuse_head();
        return bytes.size();
      }
      if (!is_head_timer_armed_) {
        is_head_timer_armed_ = true;
        arm(context_.config().timeouts.request_headers);
      }
      break;
    }
    head_progress_ = {};
    is_head_timer_armed_ = false;
    if (result.status == http1::ParseStatus::Failed) {
      // Where HTTP/2 is spoken, what is neither is a bad preface (RFC 9113 §3.4).
      if (requests_ == 0 && context_.is_http2_declared) return become_http2(bytes);
      const bool is_limit = result.error.status == 431 || result.error.status == 414;
      start_malformed(result.error, is_limit ? Flag::LimitExceeded : Flag::DownstreamProtocolError);
      return bytes.size();
    }
    used += result.head_bytes;
    used += start_exchange(head, bytes.substr(used));
  }
  return used;
}

// HTTP/2 by prior knowledge: another kind of connection goes on with the socket. All is used.
std::size_t HttpConnection::become_http2(std::string_view first) {
  state_ = State::Closed;
  worker_.reactor().timers().disarm(*this);
  const std::string copy(first);  // it may be in the read buffer
  worker_.begin_http2(std::move(context_), std::move(socket_), copy);
  worker_.remove(*this);
  return first.size();
}

void HttpConnection::process_held() {
  if (is_processing_ || held_.is_empty() || state_ != State::Head) return;
  is_processing_ = true;
  const std::size_t used = process(held_.view());
  is_processing_ = false;
  if (is_closed() || state_ == State::Lingering || held_.is_empty()) return;
  held_.consume(worker_.buffers(), std::min(used, held_.size()));
}

// ---- A request ----------------------------------------------------------------------------------

void HttpConnection::start_malformed(const http1::MessageError& error, Flag flag) {
  exchange_ = worker_.take_exchange();
  exchange_->begin_malformed(*this, context_);
  state_ = State::Exchange;
  exchange_->reject(error.status, flag, error.reason);
}

void HttpConnection::refuse_head() {
  head_progress_ = {};
  start_malformed({503, "the memory limit is nearly reached"}, Flag::Overload);
}

// Returns how many of the bytes after the head belonged to the request.
std::size_t HttpConnection::start_exchange(http1::RequestHead& head, std::string_view rest) {
  state_ = State::Exchange;
  exchange_ = worker_.take_exchange();
  exchange_->begin(*this, context_, head);
  ++requests_;
  const auto& limits = context_.config().limits;
  is_closing_after_response_ =
      !http1::wants_keep_alive(head.fields, head.version) || is_draining() ||
      worker_.overload() != OverloadLevel::Normal ||
      (limits.max_requests_per_connection != 0 && requests_ >= limits.max_requests_per_connection);
  const http1::FramingResult framing = http1::request_framing(head);
  if (!framing.is_ok()) {
    exchange_->reject(framing.error.status, Flag::DownstreamProtocolError, framing.error.reason);
    return rest.size();
  }
  exchange_->body_position().remaining = framing.framing.length;
  const std::uint64_t exchanges = exchanges_;
  // What follows a refused request is parsed only when that one was whole.
  if (!exchange_->accept(head, framing.framing)) {
    return is_closing_after_response_ ? rest.size() : 0;
  }
  exchange_->prepare(head);
  // The body bytes that came with the head travel with it.
  const std::size_t used = feed_request_body(rest);
  if (exchanges != exchanges_ || state_ != State::Exchange) return used;
  exchange_->dispatch();
  return used;
}

// Takes body bytes off the front of `bytes`; returns how many. May end the exchange.
std::size_t HttpConnection::feed_request_body(std::string_view bytes) {
  if (is_tunnel_) {
    BodyParts body;
    body.add_data(bytes);
    exchange_->send_body(body, {});
    return bytes.size();
  }
  if (exchange_->request_framing().kind == http1::BodyKind::Chunked) {
    return feed_chunked_body(bytes);
  }
  std::uint64_t& remaining = exchange_->body_position().remaining;
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), remaining));
  remaining -= size;
  BodyParts body;
  body.is_done = remaining == 0;
  if (size > 0) body.add_data(bytes.substr(0, size));
  if (size > 0 || body.is_done) exchange_->send_body(body, {});
  return size;
}

// All the data of one read becomes one piece.
std::size_t HttpConnection::feed_chunked_body(std::string_view bytes) {
  using Event = http1::ChunkedDecoder::Event;
  http1::ChunkedDecoder& chunks = exchange_->body_position().chunks;
  std::size_t used = 0;
  while (true) {
    BodyParts body;
    auto event = Event::Data;
    while (body.has_room() && event == Event::Data) {
      const auto step = chunks.next(bytes.substr(used));
      used += step.consumed;
      event = step.event;
      if (event == Event::Data) body.add_data(step.data);
    }
    if (event == Event::Failed) {
      const auto& error = chunks.error();
      exchange_->reject(error.status, Flag::DownstreamProtocolError, error.reason);
      return bytes.size();
    }
    body.is_done = event == Event::Done;
    const std::uint64_t exchanges = exchanges_;
    if (body.data_bytes > 0 || body.is_done) {
      exchange_->send_body(body, chunks.trailer_section());
    }
    if (body.is_done || event == Event::NeedMore) return used;
    if (exchanges != exchanges_ || state_ != State::Exchange) return bytes.size();
  }
}

// ---- The client ends ----------------------------------------------------------------------------

// The client will send nothing more.
void HttpConnection::on_client_end() {
  switch (state_) {
    case State::Head:
    case State::Lingering: close(); return;
    case State::Exchange:
      if (is_tunnel_) {
        BodyParts end;
        end.is_done = true;
        exchange_->send_body(end, {});
        return;
      }
      // Half-closed after a complete request is fine; otherwise the request will never be whole.
      if (!exchange_->is_request_complete()) {
        exchange_->abort(Flag::DownstreamClosed, "downstream_closed_before_request_complete");
      }
      return;
    case State::Flushing:
    case State::Closing:
    case State::Closed: return;
  }
}

void HttpConnection::on_client_gone() { abort(Flag::DownstreamClosed, "downstream_reset"); }

// ---- Writing ------------------------------------------------------------------------------------

// Writes `parts` now as far as the kernel takes them; the rest waits in out_. False when the client
// is gone (and with it perhaps this exchange).
bool HttpConnection::send_downstream(iovec* parts, std::size_t count) {
  std::size_t written = 0;
  if (out_.is_empty()) {
    const IoResult result = socket_.write(parts, count);
    if (result.status == IoStatus::Failed) {
      on_client_gone();
      return false;
    }
    if (result.status == IoStatus::Ok) return true;
    written = result.bytes;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t skipped = std::min(written, parts[i].iov_len);
    written -= skipped;
    out_.append(worker_.buffers(), {static_cast<const char*>(parts[i].iov_base) + skipped,
                                    parts[i].iov_len - skipped});
  }
  return true;
}

void HttpConnection::flush_downstream() {
  const std::string_view bytes = out_.view();
  const IoResult result = socket_.write(bytes.data(), bytes.size());
  if (result.status == IoStatus::Failed) {
    on_client_gone();
    return;
  }
  out_.consume(worker_.buffers(), result.bytes);
  if (result.bytes > 0 && is_exchanging()) exchange_->touch();
  if (!out_.is_empty()) return;
  switch (state_) {
    case State::Flushing: finish_exchange(); return;
    case State::Exchange: exchange_->resume_response(); return;
    case State::Closing: close_gracefully(); return;
    case State::Head: process_held(); return;
    case State::Lingering:
    case State::Closed: return;
  }
}

// ---- The end of an exchange and of the connection -----------------------------------------------

void HttpConnection::give_exchange() {
  exchange_->record();
  ++exchanges_;
  worker_.give_exchange(std::move(exchange_));
}

void HttpConnection::finish_exchange() {
  const bool is_ending = is_closing_after_response_ || !exchange_->is_request_complete();
  give_exchange();
  if (is_ending) {
    state_ = State::Closing;
    close_gracefully();
    return;
  }
  state_ = State::Head;
  arm(context_.config().timeouts.connection_idle);
  if (is_processing_) return;  // its loop goes on
  process_held();
  // What came, or ended, while the exchange was under way left its edge behind.
  if (state_ == State::Head) read_downstream();
}

// The client must get to read the last response: with unread bytes in our receive queue, close()
// would send RST and destroy it (RFC 9112 §9.6).
void HttpConnection::close_gracefully() {
  if (!out_.is_empty()) return;
  if (is_reset_on_close_ || socket_.is_hung_up() || !needs_lingering_) {
    close();
    return;
  }
  socket_.shutdown_write();
  state_ = State::Lingering;
  held_.release(worker_.buffers());
  arm(context_.config().timeouts.delayed_close);
  read_downstream();
}

void HttpConnection::close() {
  if (is_closed()) return;
  state_ = State::Closed;
  if (is_reset_on_close_) socket_.reset_on_close();
  socket_.close();
  worker_.reactor().timers().disarm(*this);
  worker_.remove(*this);
}

void HttpConnection::close_if_idle() {
  if (is_idle() && out_.is_empty()) close();
}

void HttpConnection::abort(Flag flag, std::string_view details) {
  if (exchange_) {
    exchange_->abort(flag, details);
  } else {
    close();
  }
}

void HttpConnection::on_deadline(Milliseconds) {
  switch (state_) {
    case State::Head:
      if (held_.is_empty()) {
        close();
      } else {
        start_malformed({408, "the request head took too long"}, Flag::RequestTimeout);
      }
      return;
    case State::Exchange:
    case State::Flushing: return;  // the exchange has a deadline of its own
    case State::Closing:
    case State::Lingering: close(); return;
    case State::Closed: return;
  }
}

}  // namespace pillion::proxy
