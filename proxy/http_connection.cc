// Life of a downstream connection: reading, writing, closing. See http_connection.h.
#include "proxy/http_connection.h"

#include <sys/epoll.h>

#include <algorithm>

#include "proxy/worker.h"

namespace pillion::proxy {
namespace {

// Reads of one connection before others get their turn.
constexpr int kReadsPerTurn = 16;

std::string_view protocol_name(const Exchange& exchange) {
  return exchange.is_http10 ? "HTTP/1.0" : "HTTP/1.1";
}

}  // namespace

HttpConnection::HttpConnection(Worker& worker, DownstreamContext context, Socket socket,
                               std::string_view first)
    : worker_(worker),
      context_(std::move(context)),
      socket_(std::move(socket)),
      peer_text_(context_.peer.to_string()) {
  socket_.attach(*this);
  if (!first.empty()) held_.append(worker_.buffers(), first);
}

HttpConnection::~HttpConnection() = default;

void HttpConnection::begin() {
  arm(context_.routes->snapshot->config().timeouts.request_headers);
  if (!held_.is_empty()) process_held();
  if (!is_closed()) read_downstream();
}

void HttpConnection::arm(std::chrono::milliseconds delay) {
  if (delay.count() <= 0) delay = context_.routes->snapshot->config().timeouts.stream_idle;
  worker_.reactor().timers().arm(*this, worker_.reactor().now() + delay.count());
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
    case State::Exchange:
      return !exchange_->is_request_complete && exchange_->upstream != nullptr &&
             exchange_->upstream->is_connected() && exchange_->upstream_out.is_empty() &&
             exchange_->request_sent == exchange_->request.size();
    case State::Lingering: return true;
    case State::Flushing:
    case State::Closing:
    case State::Closed: return false;
  }
  return false;
}

void HttpConnection::read_downstream() {
  int turns = kReadsPerTurn;
  while (wants_bytes() && socket_.is_readable()) {
    if (turns-- == 0) {
      socket_.rearm(*this);
      return;
    }
    const auto buffer = worker_.read_buffer();
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
    const std::uint64_t id = exchange_id_;
    const std::size_t used = feed_request_body(bytes);
    if (is_closed() || state_ == State::Closing || state_ == State::Lingering) return;
    // What follows the body is the next request; it waits for this one's response.
    if (used < bytes.size()) held_.append(worker_.buffers(), bytes.substr(used));
    if (id != exchange_id_) process_held();
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
  const auto& limits = context_.routes->snapshot->config().limits;
  while (state_ == State::Head && out_.is_empty() && used < bytes.size()) {
    http1::RequestHead& head = worker_.request_head();
    const http1::Limits head_limits{static_cast<std::size_t>(limits.header_size.value),
                                    limits.header_count};
    const auto result = http1::parse_request(bytes.substr(used), head_progress_, head_limits, head);
    if (result.status == http1::ParseStatus::NeedMore) {
      if (!is_head_timer_armed_) {
        is_head_timer_armed_ = true;
        arm(context_.routes->snapshot->config().timeouts.request_headers);
      }
      break;
    }
    head_progress_ = {};
    is_head_timer_armed_ = false;
    if (result.status == http1::ParseStatus::Failed) {
      reject(result.error.status,
             result.error.status == 431 || result.error.status == 414
                 ? Flag::LimitExceeded
                 : Flag::DownstreamProtocolError,
             result.error.reason);
      return bytes.size();
    }
    used += result.head_bytes;
    used += start_exchange(head, bytes.substr(used));
  }
  return used;
}

void HttpConnection::process_held() {
  if (is_processing_ || held_.is_empty() || state_ != State::Head) return;
  is_processing_ = true;
  const std::size_t used = process(held_.view());
  is_processing_ = false;
  if (is_closed() || state_ == State::Lingering || held_.is_empty()) return;
  held_.consume(worker_.buffers(), std::min(used, held_.size()));
}

// The client will send nothing more.
void HttpConnection::on_client_end() {
  switch (state_) {
    case State::Head:
    case State::Lingering: close(); return;
    case State::Exchange:
      // Half-closed after a complete request is fine; otherwise the request will never be whole.
      if (!exchange_->is_request_complete) {
        abort_exchange(Flag::DownstreamClosed, "downstream_closed_before_request_complete");
      }
      return;
    case State::Flushing:
    case State::Closing:
    case State::Closed: return;
  }
}

void HttpConnection::on_client_gone() {
  if (exchange_) {
    abort_exchange(Flag::DownstreamClosed, "downstream_reset");
  } else {
    close();
  }
}

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
  if (result.bytes > 0 && state_ == State::Exchange) {
    arm(context_.routes->snapshot->config().timeouts.stream_idle);
  }
  if (!out_.is_empty()) return;
  switch (state_) {
    case State::Flushing: finish_exchange(); return;
    case State::Exchange:
      if (exchange_->upstream && exchange_->upstream->is_connected()) read_upstream();
      return;
    case State::Closing: close_gracefully(); return;
    case State::Head: process_held(); return;
    case State::Lingering:
    case State::Closed: return;
  }
}

// ---- The end of an exchange and of the connection -----------------------------------------------

// The one exit of every exchange: log and metrics.
void HttpConnection::record_exchange() {
  Exchange& exchange = *exchange_;
  const std::int64_t now = Reactor::precise_now_ns();
  const std::int64_t duration = now - exchange.started_ns;
  const auto direction = static_cast<std::size_t>(context_.direction);
  RouteStats& stats = exchange.stats != nullptr ? *exchange.stats
                                                : worker_.stats().route(context_.direction, "none");
  stats.responses[static_cast<std::size_t>(std::clamp(exchange.status / 100, 0, 5))].add();
  stats.observe_duration(duration);
  stats.bytes_received.add(exchange.bytes_received);
  stats.bytes_sent.add(exchange.bytes_sent);
  stats.flags[static_cast<std::size_t>(exchange.flag)].add();
  if (exchange.stats != nullptr) stats.active.subtract();
  if (exchange.cluster) --exchange.cluster->active_requests;
  const bool is_aborted =
      exchange.flag == Flag::Drained || exchange.flag == Flag::UpstreamTermination;
  (is_aborted ? worker_.stats().exchanges_aborted : worker_.stats().exchanges_finished)[direction]
      .add();
  if (!worker_.is_log_enabled()) return;

  AccessRecord record;
  record.direction = direction_name(context_.direction);
  record.method = exchange.method;
  record.path = exchange.path;
  record.authority = exchange.authority;
  record.status = exchange.status;
  record.protocol = protocol_name(exchange);
  record.bytes_received = exchange.bytes_received;
  record.bytes_sent = exchange.bytes_sent;
  record.duration_ns = duration;
  if (exchange.upstream_started_ns != 0) {
    const std::int64_t ended = exchange.upstream_ended_ns != 0 ? exchange.upstream_ended_ns : now;
    record.upstream_ns = ended - exchange.upstream_started_ns;
  }
  if (exchange.stats != nullptr) record.upstream = exchange.stats->upstream;
  if (exchange.endpoint) record.upstream_address = exchange.endpoint->text();
  record.downstream_address = peer_text_;
  record.request_id = exchange.request_id;
  record.tls_version = context_.tls_version;
  record.peer_uri = context_.peer_uri;
  record.details = exchange.details;
  record.flags = flag_name(exchange.flag);
  record.attempts = exchange.attempts;
  record.is_connection_reused = exchange.was_connection_reused;
  worker_.log(record, exchange.started_ns);
}

void HttpConnection::finish_exchange() {
  const bool is_ending = is_closing_after_response_ || !exchange_->is_request_complete;
  record_exchange();
  worker_.give_exchange(std::move(exchange_));
  ++exchange_id_;
  if (is_ending) {
    state_ = State::Closing;
    close_gracefully();
    return;
  }
  state_ = State::Head;
  arm(context_.routes->snapshot->config().timeouts.connection_idle);
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
  arm(context_.routes->snapshot->config().timeouts.delayed_close);
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
    abort_exchange(flag, details);
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
        reject(408, Flag::RequestTimeout, "the request head took too long");
      }
      return;
    case State::Exchange: on_exchange_timeout(); return;
    case State::Flushing: abort_exchange(Flag::DownstreamClosed, "downstream_idle_timeout"); return;
    case State::Closing:
    case State::Lingering: close(); return;
    case State::Closed: return;
  }
}

}  // namespace pillion::proxy
