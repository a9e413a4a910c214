// The response on its way from an HTTP/1 upstream. See exchange.h.
#include <algorithm>
#include <cerrno>

#include "proxy/exchange.h"
#include "proxy/worker.h"
#include "runtime/http1/hop_by_hop.h"

namespace pillion::proxy {
namespace {

using http1::BodyKind;
using http1::Field;
using http1::FieldId;
using http1::ResponseHead;

// The length that a response without a body declares (to HEAD, or 304).
std::optional<std::uint64_t> declared_length(const http1::Fields& fields) {
  if (fields.count(FieldId::ContentLength) != 1) return std::nullopt;
  return http1::parse_decimal(fields.find(FieldId::ContentLength));
}

// What at the front of `bytes` belongs to the body; returns how many bytes were used.
std::size_t take_chunks(http1::ChunkedDecoder& decoder, std::string_view bytes, BodyParts& body) {
  using Event = http1::ChunkedDecoder::Event;
  std::size_t used = 0;
  while (body.has_room()) {
    const auto step = decoder.next(bytes.substr(used));
    used += step.consumed;
    body.is_done = step.event == Event::Done;
    body.is_failed = step.event == Event::Failed;
    if (step.event != Event::Data) return used;
    body.add_data(step.data);
  }
  body.has_more = true;
  return used;
}

}  // namespace

// ---- Events of the upstream ---------------------------------------------------------------------

void Exchange::on_upstream_connected() {
  const std::uint64_t id = id_;
  write_upstream();
  if (id == id_ && downstream_ != nullptr) downstream_->resume_request();
}

void Exchange::on_upstream_ready() {
  if (!upstream_) return;
  const std::uint64_t id = id_;
  const unsigned attempt_number = attempts_;
  const bool has_unsent = request_sent_ < request_.size() || !upstream_out_.is_empty();
  if (has_unsent && upstream_->socket().is_writable()) write_upstream();
  if (id != id_ || attempt_number != attempts_) return;
  if (!upstream_ || !upstream_->is_connected()) return;
  read_upstream();
  if (id == id_ && has_unsent) downstream_->resume_request();
}

void Exchange::resume_response() {
  if (response_state_ != ResponseState::Done) arm(idle_timeout());
  if (http2_stream_ != nullptr) {
    http2_stream_->resume_response();
  } else if (upstream_ && upstream_->is_connected()) {
    read_upstream();
  }
}

void Exchange::read_upstream() {
  const std::uint64_t id = id_;
  const unsigned attempt_number = attempts_;
  int turns = worker_.buffers().reads_per_turn();
  // While the client has not taken what was read, nothing more is read.
  while (downstream_->can_take() && response_state_ != ResponseState::Done) {
    Socket& socket = upstream_->socket();
    if (!socket.is_readable()) return;
    if (turns-- == 0) {
      socket.rearm(*upstream_);
      return;
    }
    const auto buffer = worker_.buffers().read_buffer();
    const IoResult result = socket.read(buffer.data(), buffer.size());
    switch (result.status) {
      case IoStatus::Ok: on_response_bytes({buffer.data(), result.bytes}); break;
      case IoStatus::WouldBlock: return;
      case IoStatus::Eof:
        on_upstream_end(0, socket.tls() != nullptr && socket.tls()->is_truncated());
        return;
      case IoStatus::Failed: on_upstream_end(result.error, false); return;
    }
    if (id != id_ || !upstream_ || attempt_number != attempts_) return;
  }
}

void Exchange::on_response_bytes(std::string_view bytes) {
  if (response_state_ != ResponseState::AwaitingHead) {
    forward_body(bytes);
    return;
  }
  const bool is_held = !response_held_.empty();
  if (is_held) response_held_.append(bytes);
  std::string_view view = is_held ? std::string_view(response_held_) : bytes;
  while (true) {
    ResponseHead& head = worker_.response_head();
    const auto result = http1::parse_response(view, response_progress_, {}, head);
    if (result.status == http1::ParseStatus::NeedMore) {
      if (is_held) {
        response_held_.erase(0, response_held_.size() - view.size());
      } else {
        response_held_.assign(view);
      }
      return;
    }
    response_progress_ = {};
    if (result.status == http1::ParseStatus::Failed) {
      fail_upstream(
          502, Flag::UpstreamProtocolError, "upstream_protocol_error",
          std::string("the upstream's response is malformed: ").append(result.error.reason));
      return;
    }
    view.remove_prefix(result.head_bytes);
    upstream_version_ = head.version == http1::Version::Http10 ? "1.0" : "1.1";
    if (head.status == 101) {
      switch_protocols(head, view);
      return;
    }
    if (head.is_informational()) {
      const std::uint64_t id = id_;
      forward_informational(head);
      if (id != id_) return;
      if (view.empty()) {
        response_held_.clear();
        return;
      }
      continue;
    }
    const http1::FramingResult framing = http1::response_framing(head, is_head_);
    if (!framing.is_ok()) {
      fail_upstream(
          502, Flag::UpstreamProtocolError, "upstream_protocol_error",
          std::string("the upstream's response is ambiguous: ").append(framing.error.reason));
      return;
    }
    is_upstream_reusable_ = framing.framing.kind != BodyKind::UntilClose &&
                            http1::wants_keep_alive(head.fields, head.version);
    if (is_awaiting_switch()) {
      // Refused: what the client sent ahead would be read as a request.
      is_request_abandoned_ = true;
      is_upstream_reusable_ = false;
      if (!upstream_out_.is_empty()) upstream_out_.release(worker_.buffers());
    }
    if (begin_response(head, framing.framing)) forward_body(view);
    return;
  }
}

// ---- The head -----------------------------------------------------------------------------------

void Exchange::forward_informational(ResponseHead& head) {
  if (is_http10_) return;  // RFC 9110 §15.2: never to a 1.0 client
  http1::remove_hop_by_hop(head.fields, false);
  downstream_->send_informational(head);
}

// Hands the head to the client's side. False when the exchange ended.
bool Exchange::begin_response(ResponseHead& head, const http1::Framing& framing) {
  response_state_ = ResponseState::Body;
  response_framing_ = framing;
  response_remaining_ = framing.length;
  status_ = head.status;
  details_ = "via_upstream";
  const auto length = framing.kind == BodyKind::None && (is_head_ || head.status == 304)
                          ? declared_length(head.fields)
                          : std::nullopt;
  http1::remove_hop_by_hop(head.fields, false);
  if (head.fields.has(FieldId::RequestId)) {
    for (Field& field : head.fields.all()) field.is_removed |= field.id == FieldId::RequestId;
  }
  const std::uint64_t id = id_;
  downstream_->begin_response(head, framing, length);
  return id == id_;
}

// 101: both sides speak another protocol from here on; they get a relay of their own.
void Exchange::switch_protocols(ResponseHead& head, std::string_view rest) {
  if (!wants_upgrade_) {
    fail_upstream(502, Flag::UpstreamProtocolError, "upgrade_not_asked_for",
                  "the upstream switched protocols without being asked");
    return;
  }
  if (downstream_->is_multiplexed()) {
    begin_tunnel(head, rest);
    return;
  }
  http1::remove_hop_by_hop(head.fields, true);
  status_ = 101;
  details_ = "via_upstream";
  response_state_ = ResponseState::Done;
  RelayFacts facts;
  facts.direction = context_->direction;
  facts.protocol = "websocket";
  facts.peer = context_->peer;
  facts.started_ns = started_ns_;
  facts.method = method_;
  facts.path = path_;
  facts.authority = authority_;
  facts.request_id = request_id_;
  facts.tls_version = context_->tls_version();
  facts.peer_uri = context_->peer_uri();
  facts.status = 101;
  facts.stats = stats_;
  facts.cluster = cluster_;
  facts.endpoint = endpoint_;
  facts.attempts = attempts_;
  facts.snapshot = context_->routes->snapshot;
  Socket socket = std::move(upstream_->socket());
  endpoint_->detach(std::move(upstream_));
  downstream_->switch_protocols(head, rest, std::move(facts), std::move(socket));
}

// The same for a client with a stream: what follows are bodies without an end of their own
// (RFC 8441 §5).
void Exchange::begin_tunnel(ResponseHead& head, std::string_view rest) {
  is_tunnel_ = true;
  head.status = 200;
  for (Field& field : head.fields.all()) {
    field.is_removed |=
        http1::equals_ignoring_case(head.fields.name(field), "sec-websocket-accept");
  }
  const std::uint64_t id = id_;
  if (!begin_response(head, {BodyKind::UntilClose, 0})) return;
  if (!rest.empty()) forward_body(rest);
  if (id != id_ || !upstream_) return;
  write_upstream();
  if (id == id_ && downstream_ != nullptr) downstream_->resume_request();
}

// ---- The body -----------------------------------------------------------------------------------

// Hands on what of `bytes` belongs to the body, in as few writes as possible.
void Exchange::forward_body(std::string_view bytes) {
  const std::uint64_t id = id_;
  bool is_done = false;
  std::size_t used = 0;
  bool has_more = true;
  while (has_more && !is_done) {
    BodyParts body;
    const BodyKind kind = response_framing_.kind;
    if (kind == BodyKind::Chunked) {
      used += take_chunks(response_chunks_, bytes.substr(used), body);
    } else {
      std::size_t size = bytes.size();
      if (kind != BodyKind::UntilClose) {
        size = static_cast<std::size_t>(std::min<std::uint64_t>(size, response_remaining_));
        response_remaining_ -= size;
        body.is_done = response_remaining_ == 0;
      }
      if (size > 0) body.add_data(bytes.substr(0, size));
      used = size;
    }
    bytes_sent_ += body.data_bytes;
    is_done = body.is_done;
    has_more = body.has_more;
    const bool is_alive = downstream_->send_response(body, response_chunks_.trailer_section());
    if (id != id_) return;
    if (body.is_failed) {
      truncate_response(Flag::UpstreamProtocolError, "upstream_body_malformed");
      return;
    }
    if (!is_alive) return;
  }
  if (is_done) {
    response_done(used == bytes.size());
  } else {
    arm(idle_timeout());
  }
}

// The upstream closed (error 0) or broke. `is_truncated`: without TLS's own end.
void Exchange::on_upstream_end(int error, bool is_truncated) {
  if (response_state_ == ResponseState::AwaitingHead) {
    if (response_held_.empty() && retry_if_safe()) return;
    fail_upstream(502, Flag::UpstreamTermination,
                  error == 0 ? "upstream_closed_before_response" : "upstream_reset_before_response",
                  error == 0 ? "the upstream closed the connection before it answered"
                             : "the upstream reset the connection before it answered");
    return;
  }
  if (response_framing_.kind != BodyKind::UntilClose || error != 0 || is_truncated) {
    truncate_response(Flag::UpstreamTermination, "upstream_closed_within_response");
    return;
  }
  BodyParts end;
  end.is_done = true;
  const std::uint64_t id = id_;
  if (!downstream_->send_response(end, {}) || id != id_) return;
  response_done(false);
}

// `is_upstream_clean`: no stray bytes came after the response.
void Exchange::response_done(bool is_upstream_clean) {
  response_state_ = ResponseState::Done;
  upstream_ended_ns_ = Reactor::precise_now_ns();
  release_upstream(is_upstream_clean && is_request_sent() && is_upstream_reusable_);
  downstream_->end_response();
}

}  // namespace pillion::proxy
