// From the upstream to the client. See http_connection.h.
#include <algorithm>
#include <array>
#include <cerrno>

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
using http1::ResponseHead;

constexpr int kReadsPerTurn = 16;
// A body this small is copied behind its head.
constexpr std::size_t kCopiedBytesMax = 2048;

// The length that a response without a body declares (to HEAD, or 304).
std::optional<std::uint64_t> declared_length(const http1::Fields& fields) {
  if (fields.count(FieldId::ContentLength) != 1) return std::nullopt;
  return http1::parse_decimal(fields.find(FieldId::ContentLength));
}

void append_via(std::string& out, http1::Version version, std::string_view pseudonym) {
  out.append(version == http1::Version::Http10 ? "Via: 1.0 " : "Via: 1.1 ")
      .append(pseudonym)
      .append("\r\n");
}

// The parts of one write. The first two places are for a head and for a chunk's size line.
struct BodyParts {
  static constexpr std::size_t kFree = 2;
  static constexpr std::size_t kSpansMax = 60;

  std::array<iovec, kFree + kSpansMax + 2> parts;
  std::size_t first = kFree;
  std::size_t count = kFree;
  std::size_t data_bytes = 0;
  bool is_done = false;    // the body is complete
  bool is_failed = false;  // its chunks are malformed
  bool has_more = false;   // there was no room for all of it
  char size_line[http1::kChunkSizeLineMax];

  void add(std::string_view bytes) {
    parts[count++] = {const_cast<char*>(bytes.data()), bytes.size()};
  }
  void prepend(std::string_view bytes) {
    parts[--first] = {const_cast<char*>(bytes.data()), bytes.size()};
  }
  void wrap_in_chunk() {
    if (data_bytes == 0) return;
    prepend({size_line, http1::write_chunk_size(size_line, data_bytes)});
    add("\r\n");
  }
  bool has_parts() const { return count > first; }
  iovec* begin() { return parts.data() + first; }
  std::size_t size() const { return count - first; }
};

// What at the front of `bytes` belongs to the response's body; returns how many bytes were used.
std::size_t take_body(Exchange& exchange, std::string_view bytes, BodyParts& body) {
  const BodyKind kind = exchange.response_framing.kind;
  if (kind != BodyKind::Chunked) {
    body.data_bytes = bytes.size();
    if (kind != BodyKind::UntilClose) {
      body.data_bytes = static_cast<std::size_t>(
          std::min<std::uint64_t>(bytes.size(), exchange.response_remaining));
      exchange.response_remaining -= body.data_bytes;
      body.is_done = exchange.response_remaining == 0;
    }
    if (body.data_bytes > 0) body.add(bytes.substr(0, body.data_bytes));
    return body.data_bytes;
  }
  using Event = http1::ChunkedDecoder::Event;
  std::size_t used = 0;
  while (body.count < BodyParts::kFree + BodyParts::kSpansMax) {
    const auto step = exchange.response_chunks.next(bytes.substr(used));
    used += step.consumed;
    body.is_done = step.event == Event::Done;
    body.is_failed = step.event == Event::Failed;
    if (step.event != Event::Data) return used;
    body.add(step.data);
    body.data_bytes += step.data.size();
  }
  body.has_more = true;
  return used;
}

}  // namespace

// ---- Events of the upstream ---------------------------------------------------------------------

void HttpConnection::on_upstream_connected() {
  if (!exchange_) return;
  const std::uint64_t id = exchange_id_;
  write_upstream();
  if (id != exchange_id_ || is_closed()) return;
  read_downstream();
}

void HttpConnection::on_upstream_ready() {
  if (!exchange_ || !exchange_->upstream) return;
  const std::uint64_t id = exchange_id_;
  const unsigned attempt_number = exchange_->attempts;
  const bool has_unsent =
      exchange_->request_sent < exchange_->request.size() || !exchange_->upstream_out.is_empty();
  if (has_unsent && exchange_->upstream->socket().is_writable()) write_upstream();
  if (id != exchange_id_ || is_closed() || attempt_number != exchange_->attempts) return;
  if (!exchange_->upstream || !exchange_->upstream->is_connected()) return;
  read_upstream();
  if (id != exchange_id_ || is_closed()) return;
  if (has_unsent) read_downstream();
}

void HttpConnection::read_upstream() {
  const std::uint64_t id = exchange_id_;
  const unsigned attempt_number = exchange_->attempts;
  int turns = kReadsPerTurn;
  // While the client has not taken what was read, nothing more is read.
  while (out_.is_empty() && state_ == State::Exchange) {
    Socket& socket = exchange_->upstream->socket();
    if (!socket.is_readable()) return;
    if (turns-- == 0) {
      socket.rearm(*exchange_->upstream);
      return;
    }
    const auto buffer = worker_.read_buffer();
    const IoResult result = socket.read(buffer.data(), buffer.size());
    switch (result.status) {
      case IoStatus::Ok: on_response_bytes({buffer.data(), result.bytes}); break;
      case IoStatus::WouldBlock: return;
      case IoStatus::Eof: on_upstream_end(0); return;
      case IoStatus::Failed: on_upstream_end(result.error); return;
    }
    if (id != exchange_id_ || is_closed() || !exchange_->upstream ||
        attempt_number != exchange_->attempts) {
      return;
    }
  }
}

void HttpConnection::on_response_bytes(std::string_view bytes) {
  Exchange& exchange = *exchange_;
  if (exchange.response_state != Exchange::ResponseState::AwaitingHead) {
    forward_body({}, bytes);
    return;
  }
  const bool is_held = !exchange.response_held.empty();
  if (is_held) exchange.response_held.append(bytes);
  std::string_view view = is_held ? std::string_view(exchange.response_held) : bytes;
  while (true) {
    ResponseHead& head = worker_.response_head();
    const auto result = http1::parse_response(view, exchange.response_progress, {}, head);
    if (result.status == http1::ParseStatus::NeedMore) {
      if (is_held) {
        exchange.response_held.erase(0, exchange.response_held.size() - view.size());
      } else {
        exchange.response_held.assign(view);
      }
      return;
    }
    exchange.response_progress = {};
    if (result.status == http1::ParseStatus::Failed) {
      fail_upstream(
          502, Flag::UpstreamProtocolError, "upstream_protocol_error",
          std::string("the upstream's response is malformed: ").append(result.error.reason));
      return;
    }
    view.remove_prefix(result.head_bytes);
    if (head.status == 101) {
      switch_protocols(head, view);
      return;
    }
    if (head.is_informational()) {
      const std::uint64_t id = exchange_id_;
      forward_informational(head);
      if (id != exchange_id_ || is_closed()) return;
      if (view.empty()) {
        exchange.response_held.clear();
        return;
      }
      continue;
    }
    std::string& out = worker_.scratch();
    out.clear();
    if (begin_response(head, out)) forward_body(out, view);
    return;
  }
}

// ---- The head -----------------------------------------------------------------------------------

void HttpConnection::forward_informational(ResponseHead& head) {
  if (exchange_->is_http10) return;  // RFC 9110 §15.2: never to a 1.0 client
  http1::remove_hop_by_hop(head.fields, false);
  std::string& out = worker_.scratch();
  out.clear();
  HeadWriter writer(out);
  writer.status_line(head.status, head.reason);
  writer.fields(head.fields);
  append_via(out, head.version, context_.routes->snapshot->config().via);
  writer.end();
  iovec part{out.data(), out.size()};
  send_downstream(&part, 1);
}

// Writes the head for the client and decides both framings. False after a failure.
bool HttpConnection::begin_response(ResponseHead& head, std::string& out) {
  Exchange& exchange = *exchange_;
  const http1::FramingResult framing = http1::response_framing(head, exchange.is_head);
  if (!framing.is_ok()) {
    fail_upstream(
        502, Flag::UpstreamProtocolError, "upstream_protocol_error",
        std::string("the upstream's response is ambiguous: ").append(framing.error.reason));
    return false;
  }
  exchange.response_state = Exchange::ResponseState::Body;
  exchange.response_framing = framing.framing;
  exchange.response_remaining = framing.framing.length;
  exchange.status = head.status;
  exchange.details = "via_upstream";
  const BodyKind kind = framing.framing.kind;
  exchange.is_upstream_reusable =
      kind != BodyKind::UntilClose && http1::wants_keep_alive(head.fields, head.version);
  const bool is_inbound_drain =
      worker_.is_draining_inbound() && context_.direction == Direction::Inbound;
  if (is_inbound_drain || !exchange.is_request_complete) is_closing_after_response_ = true;

  const auto length = kind == BodyKind::None && (exchange.is_head || head.status == 304)
                          ? declared_length(head.fields)
                          : std::nullopt;
  http1::remove_hop_by_hop(head.fields, false);
  if (head.fields.has(FieldId::RequestId)) {
    for (Field& field : head.fields.all()) field.is_removed |= field.id == FieldId::RequestId;
  }
  HeadWriter writer(out);
  writer.status_line(head.status, head.reason);
  writer.fields(head.fields);
  writer.field("X-Request-ID", exchange.request_id);
  append_via(out, head.version, context_.routes->snapshot->config().via);
  exchange.downstream_coding = Exchange::DownstreamCoding::Plain;
  if (kind == BodyKind::Length) {
    writer.content_length(framing.framing.length);
  } else if (length) {
    writer.content_length(*length);
  } else if (kind == BodyKind::Chunked || kind == BodyKind::UntilClose) {
    if (exchange.is_http10) {
      exchange.downstream_coding = Exchange::DownstreamCoding::UntilClose;
      is_closing_after_response_ = true;
    } else {
      exchange.downstream_coding = Exchange::DownstreamCoding::Chunked;
      writer.chunked();
    }
  }
  if (is_closing_after_response_) {
    out.append("Connection: close\r\n");
  } else if (exchange.is_http10) {
    out.append("Connection: keep-alive\r\n");
  }
  writer.end();
  return true;
}

// 101: both sides speak another protocol from here on; they get a relay of their own.
void HttpConnection::switch_protocols(ResponseHead& head, std::string_view rest) {
  Exchange& exchange = *exchange_;
  if (!exchange.wants_upgrade) {
    fail_upstream(502, Flag::UpstreamProtocolError, "upgrade_not_asked_for",
                  "the upstream switched protocols without being asked");
    return;
  }
  http1::remove_hop_by_hop(head.fields, true);
  std::string out;
  HeadWriter writer(out);
  writer.status_line(101, head.reason);
  writer.fields(head.fields);
  writer.field("X-Request-ID", exchange.request_id);
  append_via(out, head.version, context_.routes->snapshot->config().via);
  writer.field("Connection", "Upgrade");
  writer.end();
  out.append(rest);
  exchange.status = 101;
  exchange.details = "via_upstream";
  exchange.response_state = Exchange::ResponseState::Done;

  RelayFacts facts;
  facts.direction = context_.direction;
  facts.protocol = "websocket";
  facts.peer = context_.peer;
  facts.started_ns = exchange.started_ns;
  facts.method = exchange.method;
  facts.path = exchange.path;
  facts.authority = exchange.authority;
  facts.request_id = exchange.request_id;
  facts.tls_version = context_.tls_version;
  facts.peer_uri = context_.peer_uri;
  facts.status = 101;
  facts.stats = exchange.stats;
  facts.cluster = exchange.cluster;
  facts.endpoint = exchange.endpoint;
  facts.attempts = exchange.attempts;
  facts.snapshot = context_.routes->snapshot;

  state_ = State::Closed;
  worker_.reactor().timers().disarm(*this);
  Socket upstream = std::move(exchange.upstream->socket());
  exchange.endpoint->detach(std::move(exchange.upstream));
  auto relay = std::make_unique<TcpRelay>(worker_, std::move(facts), std::move(socket_),
                                          std::move(upstream), held_.view(), out);
  held_.release(worker_.buffers());
  worker_.give_exchange(std::move(exchange_));
  ++exchange_id_;
  TcpRelay& begun = *relay;
  worker_.adopt(std::move(relay));
  worker_.remove(*this);
  begun.begin();
}

// ---- The body -----------------------------------------------------------------------------------

// Sends `head` (perhaps empty) and what of `bytes` belongs to the body in as few writes as
// possible.
void HttpConnection::forward_body(std::string_view head, std::string_view bytes) {
  Exchange& exchange = *exchange_;
  const bool is_chunking = exchange.downstream_coding == Exchange::DownstreamCoding::Chunked;
  const std::uint64_t id = exchange_id_;
  bool is_done = false;
  std::size_t used = 0;
  bool has_more = true;
  while (has_more && !is_done) {
    BodyParts body;
    used += take_body(exchange, bytes.substr(used), body);
    exchange.bytes_sent += body.data_bytes;
    is_done = body.is_done;
    has_more = body.has_more;
    if (!head.empty() && exchange.response_framing.kind == BodyKind::Length &&
        body.data_bytes > 0 && body.data_bytes <= kCopiedBytesMax) {
      // One buffer and send() cost less than two parts and sendmsg().
      worker_.scratch().append(bytes.data(), body.data_bytes);
      head = worker_.scratch();
      body.count = BodyParts::kFree;
    }
    std::string tail;
    bool is_failed = body.is_failed;
    if (is_chunking) {
      body.wrap_in_chunk();
      if (is_done) {
        is_failed = !append_last_chunk(exchange.response_chunks.trailer_section(), tail);
        if (!is_failed) body.add(tail);
      }
    }
    if (!head.empty()) body.prepend(head);
    head = {};
    if (body.has_parts() && !send_downstream(body.begin(), body.size())) return;
    if (id != exchange_id_) return;
    if (is_failed) {
      truncate_response(Flag::UpstreamProtocolError, "upstream_body_malformed");
      return;
    }
  }
  if (is_done) {
    response_done(used == bytes.size());
  } else {
    arm(context_.routes->snapshot->config().timeouts.stream_idle);
  }
}

// The upstream closed (error 0) or broke.
void HttpConnection::on_upstream_end(int error) {
  Exchange& exchange = *exchange_;
  if (exchange.response_state == Exchange::ResponseState::AwaitingHead) {
    if (exchange.response_held.empty() && retry_if_safe()) return;
    fail_upstream(502, Flag::UpstreamTermination,
                  error == 0 ? "upstream_closed_before_response" : "upstream_reset_before_response",
                  error == 0 ? "the upstream closed the connection before it answered"
                             : "the upstream reset the connection before it answered");
    return;
  }
  if (exchange.response_framing.kind != BodyKind::UntilClose || error != 0) {
    truncate_response(Flag::UpstreamTermination, "upstream_closed_within_response");
    return;
  }
  if (exchange.downstream_coding == Exchange::DownstreamCoding::Chunked) {
    std::string last(http1::kLastChunk);
    iovec part{last.data(), last.size()};
    if (!send_downstream(&part, 1)) return;
  }
  response_done(false);
}

// `is_upstream_clean`: no stray bytes came after the response.
void HttpConnection::response_done(bool is_upstream_clean) {
  Exchange& exchange = *exchange_;
  exchange.response_state = Exchange::ResponseState::Done;
  exchange.upstream_ended_ns = Reactor::precise_now_ns();
  const bool is_request_sent = exchange.is_request_complete &&
                               exchange.request_sent == exchange.request.size() &&
                               exchange.upstream_out.is_empty();
  if (!exchange.is_request_complete) needs_lingering_ = true;
  release_upstream(is_upstream_clean && is_request_sent && exchange.is_upstream_reusable);
  if (out_.is_empty()) {
    finish_exchange();
  } else {
    state_ = State::Flushing;
    arm(context_.routes->snapshot->config().timeouts.stream_idle);
  }
}

}  // namespace pillion::proxy
