// From a request head to an attempt upstream. See http_connection.h.
#include <algorithm>

#include "proxy/http_connection.h"
#include "proxy/worker.h"
#include "runtime/http1/head_writer.h"
#include "runtime/http1/hop_by_hop.h"

namespace pillion::proxy {
namespace {

using http1::BodyKind;
using http1::Field;
using http1::FieldId;
using http1::HeadWriter;
using http1::RequestHead;

bool is_idempotent_method(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE" || method == "TRACE";
}

// RFC 9110 §7.8; bodies on upgrades have no meaning that all agree on.
bool is_websocket_upgrade(const RequestHead& head, const http1::Framing& framing) {
  return head.fields.has(FieldId::Upgrade) && head.version == http1::Version::Http11 &&
         head.method == "GET" &&
         (framing.kind == BodyKind::None ||
          (framing.kind == BodyKind::Length && framing.length == 0)) &&
         head.fields.has_list_element(FieldId::Connection, "upgrade") &&
         http1::equals_ignoring_case(head.fields.find(FieldId::Upgrade), "websocket");
}

// How often this very instance has handled the request (its token is in Via).
unsigned count_own_hops(const RequestHead& head, std::string_view token) {
  if (!head.fields.has(FieldId::Via)) return 0;
  unsigned hops = 0;
  for (const Field& field : head.fields.all()) {
    if (field.id != FieldId::Via) continue;
    std::string_view value = head.fields.value(field);
    for (std::size_t at = value.find(token); at != std::string_view::npos;
         at = value.find(token, at + token.size())) {
      ++hops;
    }
  }
  return hops;
}

}  // namespace

// What the log and the checks need, whatever becomes of the request.
void HttpConnection::take_facts(const RequestHead& head) {
  Exchange& exchange = *exchange_;
  exchange.method.assign(head.method);
  exchange.path.assign(head.path);
  exchange.authority.assign(head.authority);
  exchange.is_http10 = head.version == http1::Version::Http10;
  exchange.is_head = head.is_head();
  exchange.is_idempotent = is_idempotent_method(head.method);
  const std::string_view id = head.fields.find(FieldId::RequestId);
  if (is_valid_request_id(id) && head.fields.count(FieldId::RequestId) == 1) {
    exchange.request_id.assign(id);
  } else {
    assign_uuid(worker_.random(), exchange.request_id);
  }
  ++requests_;
  const auto& config = context_.routes->snapshot->config();
  is_closing_after_response_ =
      !http1::wants_keep_alive(head.fields, head.version) ||
      (worker_.is_draining_inbound() && context_.direction == Direction::Inbound) ||
      (config.limits.max_requests_per_connection != 0 &&
       requests_ >= config.limits.max_requests_per_connection);
}

// Refuses what must not be forwarded; false after it answered.
bool HttpConnection::is_request_acceptable(RequestHead& head) {
  Exchange& exchange = *exchange_;
  const http1::FramingResult framing = http1::request_framing(head);
  if (!framing.is_ok()) {
    reject(framing.error.status, Flag::DownstreamProtocolError, framing.error.reason);
    return false;
  }
  exchange.request_framing = framing.framing;
  exchange.request_remaining = framing.framing.length;
  const auto& config = context_.routes->snapshot->config();
  if (head.is_connect()) {
    reject(403, Flag::Refused, "CONNECT is not allowed here");
    return false;
  }
  const auto& limit = config.limits.body_size;
  if (limit && framing.framing.kind == BodyKind::Length && framing.framing.length > limit->value) {
    reject(413, Flag::LimitExceeded, "the request body is larger than the limit");
    return false;
  }
  if (count_own_hops(head, worker_.via_token()) >= config.limits.max_hops) {
    reject(508, Flag::LoopDetected, "the request came through this proxy too many times");
    return false;
  }
  exchange.wants_upgrade = is_websocket_upgrade(head, exchange.request_framing);
  return true;
}

// Sets cluster or endpoint, limits and counters; false after it answered.
bool HttpConnection::choose_destination() {
  Exchange& exchange = *exchange_;
  const RouteAnswer answer =
      choose_route(*context_.routes->snapshot,
                   {context_.kind, exchange.authority, context_.destination, context_.upstream});
  switch (answer.kind) {
    case RouteAnswer::Kind::Refused:
      reply_locally(502, Flag::NoRoute, "no_route", "no upstream is configured for this host");
      return false;
    case RouteAnswer::Kind::Destination:
      if (!context_.endpoint) {
        context_.endpoint = worker_.endpoint_of(*context_.routes, context_.destination, false);
      }
      exchange.endpoint = context_.endpoint;
      if (destination_stats_ == nullptr) {
        destination_stats_ = &worker_.stats().route(
            context_.direction, context_.direction == Direction::Inbound ? "app" : "passthrough");
      }
      exchange.stats = destination_stats_;
      break;
    case RouteAnswer::Kind::Upstream: {
      exchange.cluster = context_.routes->clusters[answer.upstream];
      Cluster& cluster = *exchange.cluster;
      ++cluster.active_requests;
      exchange.stats = &cluster.stats(context_.direction, worker_.stats());
      exchange.attempts_max = cluster.config().retry.attempts + 1;
      break;
    }
  }
  exchange.stats->active.add();
  if (exchange.cluster &&
      exchange.cluster->active_requests > exchange.cluster->config().circuit_breaker.max_requests) {
    reply_locally(503, Flag::UpstreamOverflow, "max_requests",
                  "the upstream has max_requests requests under way");
    return false;
  }
  return true;
}

// Always serialised from the parsed model; framing is ours (RFC 9112 §6, RFC 9110 §7.6).
void HttpConnection::build_request(RequestHead& head) {
  Exchange& exchange = *exchange_;
  const bool is_host_rewritten =
      head.form == http1::TargetForm::Absolute || !head.fields.has(FieldId::Host);
  const std::size_t ignored = http1::remove_hop_by_hop(head.fields, exchange.wants_upgrade);
  if (ignored > 0) worker_.stats().nominations_ignored.add(ignored);
  const bool is_id_kept = head.fields.find(FieldId::RequestId) == exchange.request_id;
  if (is_host_rewritten || !is_id_kept) {
    for (Field& field : head.fields.all()) {
      if (field.id == FieldId::Host) field.is_removed |= is_host_rewritten;
      if (field.id == FieldId::RequestId) field.is_removed |= !is_id_kept;
    }
  }
  const bool is_inbound = context_.direction == Direction::Inbound;
  if (is_inbound && head.fields.has(FieldId::Forwarded)) {
    // Only we say who the client is; what it says of itself goes nowhere.
    for (Field& field : head.fields.all()) {
      field.is_removed |=
          field.id == FieldId::Forwarded &&
          http1::equals_ignoring_case(head.fields.name(field), "x-forwarded-client-cert");
    }
  }
  HeadWriter writer(exchange.request);
  writer.request_line(head.method, head.path);
  if (is_host_rewritten) {
    if (exchange.authority.empty()) exchange.authority = context_.destination.to_string();
    writer.field("Host", exchange.authority);
  }
  writer.fields(head.fields);
  if (!is_id_kept) writer.field("X-Request-ID", exchange.request_id);
  if (!context_.client_certificate.empty()) {
    writer.field("X-Forwarded-Client-Cert", context_.client_certificate);
  }
  exchange.request.append(exchange.is_http10 ? "Via: 1.0 " : "Via: 1.1 ")
      .append(context_.routes->snapshot->config().via)
      .append(1, ' ')
      .append(worker_.via_token())
      .append("\r\n");
  if (exchange.wants_upgrade) writer.field("Connection", "Upgrade");
  if (exchange.request_framing.kind == BodyKind::Length) {
    writer.content_length(exchange.request_framing.length);
  } else if (exchange.request_framing.kind == BodyKind::Chunked) {
    writer.chunked();
  }
  writer.end();
}

// Returns how many of the bytes after the head belonged to the request.
std::size_t HttpConnection::start_exchange(RequestHead& head, std::string_view rest) {
  state_ = State::Exchange;
  exchange_ = worker_.take_exchange();
  exchange_->started_ns = worker_.reactor().now_ns();
  take_facts(head);
  if (!is_request_acceptable(head)) return rest.size();
  build_request(head);
  const std::uint64_t id = exchange_id_;
  const std::size_t used = take_early_body(rest);
  if (id != exchange_id_ || state_ != State::Exchange) return used;
  if (!choose_destination()) return used;
  arm(context_.routes->snapshot->config().timeouts.stream_idle);
  attempt();
  return used;
}

// The body bytes that came with the head travel with it, and stay for a retry.
std::size_t HttpConnection::take_early_body(std::string_view rest) {
  is_taking_early_body_ = true;
  const std::size_t used = feed_request_body(rest);
  is_taking_early_body_ = false;
  return used;
}

// Takes body bytes off the front of `bytes`; returns how many. May end the exchange.
std::size_t HttpConnection::feed_request_body(std::string_view bytes) {
  Exchange& exchange = *exchange_;
  if (exchange.request_framing.kind == BodyKind::Chunked) return feed_chunked_body(bytes);
  const auto size =
      static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), exchange.request_remaining));
  exchange.request_remaining -= size;
  if (exchange.request_remaining == 0) exchange.is_request_complete = true;
  if (size > 0) {
    iovec part{const_cast<char*>(bytes.data()), size};
    exchange.bytes_received += size;
    if (!forward_request_parts(&part, 1)) return bytes.size();
  }
  if (exchange.is_request_complete) after_request_sent();
  return size;
}

// Re-chunks: all the data of one read becomes one chunk.
std::size_t HttpConnection::feed_chunked_body(std::string_view bytes) {
  constexpr std::size_t kSpansMax = 60;
  Exchange& exchange = *exchange_;
  std::size_t used = 0;
  while (true) {
    iovec parts[kSpansMax + 4];
    std::size_t count = 1;  // [0] is the chunk's size line
    std::size_t data_bytes = 0;
    auto event = http1::ChunkedDecoder::Event::Data;
    while (count <= kSpansMax && event == http1::ChunkedDecoder::Event::Data) {
      const auto step = exchange.request_chunks.next(bytes.substr(used));
      used += step.consumed;
      event = step.event;
      if (event != http1::ChunkedDecoder::Event::Data) break;
      parts[count++] = {const_cast<char*>(step.data.data()), step.data.size()};
      data_bytes += step.data.size();
    }
    if (event == http1::ChunkedDecoder::Event::Failed) {
      const auto& error = exchange.request_chunks.error();
      reject(error.status, Flag::DownstreamProtocolError, error.reason);
      return bytes.size();
    }
    exchange.bytes_received += data_bytes;
    const auto& limit = context_.routes->snapshot->config().limits.body_size;
    if (limit && exchange.bytes_received > limit->value) {
      reject(413, Flag::LimitExceeded, "the request body is larger than the limit");
      return bytes.size();
    }
    char size_line[http1::kChunkSizeLineMax];
    char crlf[] = "\r\n";
    std::size_t first = 1;
    if (data_bytes > 0) {
      parts[0] = {size_line, http1::write_chunk_size(size_line, data_bytes)};
      first = 0;
      parts[count++] = {crlf, 2};
    }
    std::string tail;
    if (event == http1::ChunkedDecoder::Event::Done) {
      exchange.is_request_complete = true;
      if (!append_last_chunk(exchange.request_chunks.trailer_section(), tail)) {
        reject(400, Flag::DownstreamProtocolError, "the trailers are malformed");
        return bytes.size();
      }
      parts[count++] = {tail.data(), tail.size()};
    }
    if (count > first && !forward_request_parts(parts + first, count - first)) {
      return bytes.size();
    }
    if (exchange.is_request_complete) {
      after_request_sent();
      return used;
    }
    if (event == http1::ChunkedDecoder::Event::NeedMore) return used;
  }
}

// Sends body bytes upstream, or keeps them while the head has not gone yet. False when the exchange
// or its upstream ended meanwhile.
bool HttpConnection::forward_request_parts(const iovec* parts, std::size_t count) {
  Exchange& exchange = *exchange_;
  if (is_taking_early_body_) {
    for (std::size_t i = 0; i < count; ++i) {
      exchange.request.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    }
    return true;
  }
  exchange.is_replayable = false;
  if (!exchange.upstream || exchange.is_request_abandoned) return true;  // discarded
  std::size_t written = 0;
  if (exchange.upstream_out.is_empty()) {
    const IoResult result = exchange.upstream->socket().write(parts, count);
    if (result.status == IoStatus::Failed) return on_request_write_failed();
    written = result.bytes;
    exchange.bytes_written_upstream += written;
    if (result.status == IoStatus::Ok) {
      arm(context_.routes->snapshot->config().timeouts.stream_idle);
      return true;
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t skipped = std::min(written, parts[i].iov_len);
    written -= skipped;
    exchange.upstream_out.append(
        worker_.buffers(),
        {static_cast<const char*>(parts[i].iov_base) + skipped, parts[i].iov_len - skipped});
  }
  return true;
}

// ---- Attempts -----------------------------------------------------------------------------------

// Finds a connection and sends the request on it, or begins to connect.
void HttpConnection::attempt() {
  Exchange& exchange = *exchange_;
  ++exchange.attempts;
  exchange.request_sent = 0;
  exchange.bytes_written_upstream = 0;
  if (exchange.cluster) {
    if (!exchange.cluster->has_endpoints()) {
      reply_locally(503, Flag::NoEndpoint, "no_healthy_upstream",
                    "the upstream's name resolves to no address");
      return;
    }
    exchange.endpoint = exchange.cluster->choose(
        worker_.random(), exchange.attempts > 1 ? exchange.endpoint.get() : nullptr);
  }
  Endpoint& endpoint = *exchange.endpoint;
  if (!exchange.is_fresh_connection_needed) {
    const bool can_repeat = exchange.is_idempotent && exchange.is_request_complete;
    if (auto idle = endpoint.take_idle(*this, !can_repeat)) {
      exchange.upstream = std::move(idle);
      // Not when it was opened for this very connection (see TcpRelay).
      exchange.was_connection_reused = exchange.upstream->was_reused();
      if (exchange.was_connection_reused) exchange.stats->connections_reused.add();
      write_upstream();
      return;
    }
  }
  exchange.was_connection_reused = false;
  if (exchange.cluster &&
      endpoint.active() >= exchange.cluster->config().circuit_breaker.max_connections) {
    reply_locally(503, Flag::UpstreamOverflow, "max_connections",
                  "the upstream has max_connections connections in use");
    return;
  }
  exchange.stats->connections_made.add();
  auto begun = endpoint.connect(*this);
  if (!begun) {
    on_upstream_connect_failed(begun.error().errno_value());
    return;
  }
  exchange.upstream = std::move(*begun);
}

// Writes what waits for the upstream. After a failure the exchange may be over.
void HttpConnection::write_upstream() {
  Exchange& exchange = *exchange_;
  Socket& socket = exchange.upstream->socket();
  if (exchange.upstream_started_ns == 0) exchange.upstream_started_ns = Reactor::precise_now_ns();
  if (exchange.request_sent < exchange.request.size()) {
    const IoResult result = socket.write(exchange.request.data() + exchange.request_sent,
                                         exchange.request.size() - exchange.request_sent);
    if (result.status == IoStatus::Failed) {
      on_request_write_failed();
      return;
    }
    exchange.request_sent += result.bytes;
    exchange.bytes_written_upstream += result.bytes;
    if (result.status == IoStatus::WouldBlock) return;
  }
  if (!exchange.upstream_out.is_empty()) {
    const std::string_view bytes = exchange.upstream_out.view();
    const IoResult result = socket.write(bytes.data(), bytes.size());
    if (result.status == IoStatus::Failed) {
      on_request_write_failed();
      return;
    }
    exchange.bytes_written_upstream += result.bytes;
    exchange.upstream_out.consume(worker_.buffers(), result.bytes);
    if (result.bytes > 0) arm(context_.routes->snapshot->config().timeouts.stream_idle);
  }
  if (exchange.is_request_complete) after_request_sent();
}

// From the request's last byte on, the response is due.
void HttpConnection::after_request_sent() {
  Exchange& exchange = *exchange_;
  if (exchange.request_sent < exchange.request.size() || !exchange.upstream_out.is_empty()) return;
  if (exchange.response_state != Exchange::ResponseState::AwaitingHead) return;
  arm(exchange.cluster ? exchange.cluster->config().timeouts.response_headers
                       : context_.routes->snapshot->config().timeouts.response_headers);
}

}  // namespace pillion::proxy
