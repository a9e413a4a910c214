// Both ways with an HTTP/2 upstream. See exchange.h.
#include <fmt/format.h>
#include <nghttp2/nghttp2.h>

#include <cerrno>

#include "proxy/exchange.h"
#include "proxy/forwarded.h"
#include "proxy/websocket.h"
#include "proxy/worker.h"
#include "runtime/http1/hop_by_hop.h"

namespace pillion::proxy {

using http1::BodyKind;
using http1::FieldId;

// ---- The request --------------------------------------------------------------------------------

void Exchange::build_http2_request(http1::RequestHead& head) {
  const bool is_id_kept = head.fields.find(FieldId::RequestId) == request_id_;
  remove_replaced_fields(head, true, is_id_kept);
  if (authority_.empty()) authority_ = context_->destination.to_string();
  Http2Fields& fields = http2_request_.fields;
  fields.clear();
  const bool is_tls = cluster_ && cluster_->config().tls.has_value();
  http2_request_.is_websocket = wants_upgrade_;
  fields.add_lower(":method", wants_upgrade_ ? "CONNECT" : head.method);
  if (wants_upgrade_) fields.add_lower(":protocol", "websocket");
  fields.add_lower(":scheme", is_tls ? "https" : "http");
  fields.add_lower(":authority", authority_);
  fields.add_lower(":path", path_);
  if (wants_upgrade_) {
    for (http1::Field& field : head.fields.all()) {
      const bool is_key = http1::equals_ignoring_case(head.fields.name(field), "sec-websocket-key");
      if (is_key) http2_request_.websocket_key.assign(head.fields.value(field));
      field.is_removed |= is_key || field.id == FieldId::Upgrade;
    }
  }
  ForwardedMemory memory;
  const Forwarded client = context_->direction == Direction::Inbound
                               ? describe_client(*context_, head, authority_, memory)
                               : Forwarded{};
  fields.add_all(head.fields, false);
  if (!client.client.empty()) fields.add_lower("x-forwarded-for", client.client);
  if (!client.proto.empty()) fields.add_lower("x-forwarded-proto", client.proto);
  if (!client.host.empty()) fields.add_lower("x-forwarded-host", client.host);
  if (!client.forwarded.empty()) fields.add_lower("forwarded", client.forwarded);
  if (inspection_) {
    for (const auto& [name, value] : inspection_->walk.set_headers) {
      if (!value.empty()) fields.add(name, value);
    }
  }
  if (!is_id_kept) fields.add_lower("x-request-id", request_id_);
  if (takes_trailers_ || is_grpc_) fields.add_lower("te", "trailers");
  if (!context_->client_certificate().empty()) {
    fields.add_lower("x-forwarded-client-cert", context_->client_certificate());
  }
  std::string& via = worker_.scratch();
  const std::string_view prefix = is_http10_ ? "Via: 1.0 " : downstream_->via_prefix();
  via.assign(prefix.substr(5)).append(config().via).append(1, ' ').append(worker_.via_token());
  fields.add_lower("via", via);
  if (request_framing_.kind == BodyKind::Length) {
    fields.add_number("content-length", request_framing_.length);
  }
}

void Exchange::send_http2_body(BodyParts& body, std::string_view trailer_section) {
  if (!is_dispatched_) {
    for (std::size_t i = 0; i < body.size(); ++i) {
      const iovec& part = body.begin()[i];
      http2_request_.body.append(static_cast<const char*>(part.iov_base), part.iov_len);
    }
    http2_request_.is_complete = body.is_done;
    http2_request_.trailers.assign(trailer_section);
    return;
  }
  is_replayable_ = false;
  if (http2_stream_ == nullptr) return;  // discarded
  http2_stream_->send(body, trailer_section);
  arm(idle_timeout());
  after_request_sent();
}

void Exchange::attempt_http2() {
  bool was_used = false;
  http2_stream_ = nullptr;
  Http2Upstream* connection = endpoint_->find_http2();
  if (connection == nullptr) {
    if (!has_connection_room()) return;
    stats_->connections_made.add();
    auto made = endpoint_->connect_http2(worker_.buffers());
    if (!made) {
      retry_connect(made.error().errno_value(), {});
      return;
    }
    connection = *made;
  } else {
    was_used = connection->was_used();
    if (was_used) stats_->connections_reused.add();
  }
  was_connection_reused_ = was_used;
  if (upstream_started_ns_ == 0) upstream_started_ns_ = Reactor::precise_now_ns();
  http2_stream_ = connection->request(*this, http2_request_);
  if (http2_stream_ == nullptr && wants_upgrade_) {
    on_http2_failed({Http2Failure::Kind::NoConnect, 0, {}, 0});
    return;
  }
  if (http2_stream_ == nullptr) {
    fail_upstream(502, Flag::UpstreamProtocolError, "upstream_protocol_error",
                  "the upstream's connection takes no more streams");
    return;
  }
  bytes_written_upstream_ = 1;  // see on_http2_failed for what was certainly not seen
  if (is_request_complete_ || is_awaiting_tunnel()) {
    arm(response_timeout());
  }
}

void Exchange::on_http2_room() {
  arm(idle_timeout());
  downstream_->resume_request();
}

bool Exchange::can_take_http2() const { return downstream_ == nullptr || downstream_->can_take(); }

// ---- The response -------------------------------------------------------------------------------

void Exchange::on_http2_head(Http2HeadReader& reader, bool is_end) {
  http1::ResponseHead& head = worker_.response_head();
  bool is_good = reader.build_response(head);
  if (!is_good) {
    http1::ParseProgress progress;
    const http1::Limits limits{65535, http1::kFieldsMax};
    const auto result = http1::parse_response(reader.finish_response(), progress, limits, head);
    is_good = result.status == http1::ParseStatus::Done;
  }
  if (!is_good || head.status == 101) {
    fail_upstream(502, Flag::UpstreamProtocolError, "upstream_protocol_error",
                  "the upstream's response is malformed");
    return;
  }
  upstream_version_ = "2";
  if (head.is_informational()) {
    forward_informational(head);
    return;
  }
  http1::Framing framing{BodyKind::Chunked, 0};
  if (is_head_ || head.status == 204 || head.status == 304) {
    framing.kind = BodyKind::None;
  } else if (const auto declared = http1::parse_decimal(head.fields.find(FieldId::ContentLength));
             head.fields.count(FieldId::ContentLength) == 1 && declared) {
    framing = {BodyKind::Length, *declared};
  } else if (is_end) {
    // An HTTP/1 client must be told that nothing follows (RFC 9112 §6.3).
    framing.kind = downstream_->is_multiplexed() ? BodyKind::None : BodyKind::Length;
  }
  if (is_awaiting_tunnel()) {
    if (head.status < 300) {
      begin_upgraded(head, is_end);
      return;
    }
    is_request_complete_ = true;  // refused: nothing follows
  }
  is_tunnel_ = wants_upgrade_ && head.status < 300;
  const std::uint64_t id = id_;
  if (!begin_response(head, framing)) return;
  BodyParts body;
  body.is_done = is_end || framing.kind == BodyKind::None;
  if (!downstream_->send_response(body, {}) || id != id_) return;
  if (is_end) {
    http2_done();
  } else {
    arm(idle_timeout());
  }
}

// RFC 8441 §5: what HTTP/2 answers with 2xx is 101 in HTTP/1.
void Exchange::begin_upgraded(http1::ResponseHead& head, bool is_end) {
  is_tunnel_ = true;
  response_state_ = ResponseState::Body;
  response_framing_ = {BodyKind::UntilClose, 0};
  status_ = 101;
  details_ = "via_upstream";
  http1::remove_hop_by_hop(head.fields, false);
  for (http1::Field& field : head.fields.all()) {
    field.is_removed |=
        field.id == FieldId::RequestId ||
        http1::equals_ignoring_case(head.fields.name(field), "sec-websocket-accept");
  }
  const std::uint64_t id = id_;
  downstream_->begin_tunnel(head, websocket_accept(http2_request_.websocket_key));
  if (id != id_) return;
  if (is_end) {
    http2_done();
  } else {
    arm(idle_timeout());
  }
}

void Exchange::on_http2_data(std::string_view data) {
  if (response_state_ != ResponseState::Body || response_framing_.kind == BodyKind::None) return;
  bytes_sent_ += data.size();
  BodyParts body;
  body.add_data(data);
  const std::uint64_t id = id_;
  if (!downstream_->send_response(body, {}) || id != id_) return;
  arm(idle_timeout());
}

void Exchange::on_http2_end(std::string_view trailer_section) {
  if (response_state_ != ResponseState::Body) return;
  BodyParts body;
  body.is_done = true;
  const std::uint64_t id = id_;
  if (response_framing_.kind != BodyKind::None) {
    const bool is_alive = downstream_->send_response(body, trailer_section);
    if (id != id_) return;
    if (body.is_failed) {
      truncate_response(Flag::UpstreamProtocolError, "upstream_body_malformed");
      return;
    }
    if (!is_alive) return;
  }
  http2_done();
}

void Exchange::http2_done() {
  response_state_ = ResponseState::Done;
  upstream_ended_ns_ = Reactor::precise_now_ns();
  Http2UpstreamStream* stream = std::exchange(http2_stream_, nullptr);
  if (stream != nullptr) stream->let_go();
  downstream_->end_response();
}

// ---- Failures -----------------------------------------------------------------------------------

void Exchange::on_http2_failed(const Http2Failure& failure) {
  http2_stream_ = nullptr;
  using Kind = Http2Failure::Kind;
  if (failure.kind == Kind::Connect) {
    retry_connect(failure.error, failure.tls_failure);
    return;
  }
  if (response_state_ == ResponseState::Body) {
    truncate_response(Flag::UpstreamTermination, failure.kind == Kind::Reset
                                                     ? "upstream_reset_within_response"
                                                     : "upstream_closed_within_response");
    return;
  }
  if (failure.kind == Kind::NoConnect) {
    fail_upstream(502, Flag::UpstreamProtocolError, "upstream_without_extended_connect",
                  "the upstream does not take WebSocket over HTTP/2");
    return;
  }
  if (failure.kind == Kind::Malformed) {
    fail_upstream(502, Flag::UpstreamProtocolError, "upstream_protocol_error",
                  "the upstream's response is malformed");
    return;
  }
  if (failure.kind == Kind::Unseen) bytes_written_upstream_ = 0;
  const bool is_unseen = failure.kind == Kind::Unseen;
  const bool is_stale = failure.kind == Kind::Closed && was_connection_reused_ && is_idempotent_;
  if ((is_unseen || is_stale) && is_replayable_ && !is_stale_retried_) {
    is_stale_retried_ = true;
    stats_->retries.add();
    attempt();
    return;
  }
  fail_upstream(
      502, Flag::UpstreamTermination,
      failure.kind == Kind::Closed ? "upstream_closed_before_response"
                                   : "upstream_reset_before_response",
      failure.kind == Kind::Closed
          ? "the upstream closed the connection before it answered"
          : fmt::format("the upstream reset the stream: {}", nghttp2_http2_strerror(failure.code)));
}

}  // namespace pillion::proxy
