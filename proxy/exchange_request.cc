// The request on its way to an HTTP/1 upstream. See exchange.h.
#include <algorithm>

#include "proxy/exchange.h"
#include "proxy/forwarded.h"
#include "proxy/worker.h"
#include "runtime/http1/head_writer.h"
#include "runtime/http1/hop_by_hop.h"

namespace pillion::proxy {

using http1::BodyKind;
using http1::FieldId;

// Always serialised from the parsed model; framing is ours (RFC 9112 §6, RFC 9110 §7.6).
void Exchange::build_request(http1::RequestHead& head) {
  const bool is_host_rewritten =
      head.form == http1::TargetForm::Absolute || !head.fields.has(FieldId::Host);
  const bool is_id_kept = head.fields.find(FieldId::RequestId) == request_id_;
  remove_replaced_fields(head, is_host_rewritten, is_id_kept);
  http1::HeadWriter writer(request_);
  writer.request_line(head.method, path_);
  if (is_host_rewritten) {
    if (authority_.empty()) authority_ = context_->destination.to_string();
    writer.field("Host", authority_);
  }
  ForwardedMemory memory;
  const Forwarded client = context_->direction == Direction::Inbound
                               ? describe_client(*context_, head, authority_, memory)
                               : Forwarded{};
  writer.fields(head.fields);
  if (!client.client.empty()) writer.field("X-Forwarded-For", client.client);
  if (!client.proto.empty()) writer.field("X-Forwarded-Proto", client.proto);
  if (!client.host.empty()) writer.field("X-Forwarded-Host", client.host);
  if (!client.forwarded.empty()) writer.field("Forwarded", client.forwarded);
  if (inspection_) {
    for (const auto& [name, value] : inspection_->walk.set_headers) {
      if (!value.empty()) writer.field(name, value);
    }
  }
  if (!is_id_kept) writer.field("X-Request-ID", request_id_);
  if (!context_->client_certificate().empty()) {
    writer.field("X-Forwarded-Client-Cert", context_->client_certificate());
  }
  request_.append(is_http10_ ? "Via: 1.0 " : downstream_->via_prefix())
      .append(config().via)
      .append(1, ' ')
      .append(worker_.via_token())
      .append("\r\n");
  if (wants_upgrade_) writer.field("Connection", "Upgrade");
  if (request_framing_.kind == BodyKind::Length) {
    writer.content_length(request_framing_.length);
  } else if (request_framing_.kind == BodyKind::Chunked) {
    writer.chunked();
  }
  writer.end();
}

// ---- The body -----------------------------------------------------------------------------------

void Exchange::send_body(BodyParts& body, std::string_view trailer_section) {
  if (is_awaiting_tunnel()) return;  // its head has no end: the stream stays open
  bytes_received_ += body.data_bytes;
  if (body.is_done) is_request_complete_ = true;
  const auto& limit = config().limits.body_size;
  if (limit && bytes_received_ > limit->value && !wants_upgrade_) {
    reject(413, Flag::LimitExceeded, "the request body is larger than the limit");
    return;
  }
  if (inspection_ && inspection_->is_holding()) {
    hold_body(body, trailer_section);
  } else {
    pass_body(body, trailer_section);
  }
}

void Exchange::pass_body(BodyParts& body, std::string_view trailer_section) {
  if (uses_http2_) {
    send_http2_body(body, trailer_section);
    return;
  }
  std::string tail;
  if (request_framing_.kind == BodyKind::Chunked) {
    body.wrap_in_chunk();
    if (body.is_done) {
      if (!append_last_chunk(trailer_section, tail)) {
        reject(400, Flag::DownstreamProtocolError, "the trailers are malformed");
        return;
      }
      body.add(tail);
    }
  }
  const std::uint64_t id = id_;
  if (body.has_parts() && !forward_parts(body.begin(), body.size())) return;
  if (id == id_ && is_request_complete_) after_request_sent();
}

// Sends bytes upstream, or keeps them while the head has not gone yet. False when the exchange or
// its upstream ended meanwhile.
bool Exchange::forward_parts(const iovec* parts, std::size_t count) {
  if (!is_dispatched_) {
    for (std::size_t i = 0; i < count; ++i) {
      request_.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
    }
    return true;
  }
  if (!upstream_ || is_request_abandoned_) {
    is_replayable_ = false;
    return true;  // discarded
  }
  std::size_t written = 0;
  // HTTP/2 clients send on while we connect: that waits behind the head.
  const bool is_head_sent = upstream_->is_connected() && request_sent_ == request_.size();
  if (is_head_sent && upstream_out_.is_empty() && !is_awaiting_switch()) {
    is_replayable_ = false;
    const IoResult result = upstream_->socket().write(parts, count);
    if (result.status == IoStatus::Failed) return on_request_write_failed();
    written = result.bytes;
    bytes_written_upstream_ += written;
    if (result.status == IoStatus::Ok) {
      arm(idle_timeout());
      return true;
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t skipped = std::min(written, parts[i].iov_len);
    written -= skipped;
    upstream_out_.append(worker_.buffers(), {static_cast<const char*>(parts[i].iov_base) + skipped,
                                             parts[i].iov_len - skipped});
  }
  return true;
}

bool Exchange::wants_body() const {
  if (is_request_complete_) return false;
  if (inspection_ && inspection_->is_holding()) return inspection_->is_gathering();
  if (is_awaiting_tunnel()) return false;
  if (uses_http2_) return http2_stream_ == nullptr || http2_stream_->has_room();
  return upstream_ != nullptr && upstream_->is_connected() && upstream_out_.is_empty() &&
         request_sent_ == request_.size() && !is_awaiting_switch();
}

// ---- Attempts -----------------------------------------------------------------------------------

// Finds a connection and sends the request on it, or begins to connect.
void Exchange::attempt_http1() {
  if (!is_fresh_connection_needed_) {
    const bool can_repeat = is_idempotent_ && is_request_complete_;
    if (auto idle = endpoint_->take_idle(*this, !can_repeat)) {
      upstream_ = std::move(idle);
      // Not when it was opened for this very connection (see TcpRelay).
      was_connection_reused_ = upstream_->was_reused();
      if (was_connection_reused_) stats_->connections_reused.add();
      write_upstream();
      return;
    }
  }
  was_connection_reused_ = false;
  if (!has_connection_room()) return;
  stats_->connections_made.add();
  auto begun = endpoint_->connect(*this);
  if (!begun) {
    on_upstream_connect_failed(begun.error().errno_value());
    return;
  }
  upstream_ = std::move(*begun);
}

// Writes what waits for the upstream. After a failure the exchange may be over.
void Exchange::write_upstream() {
  Socket& socket = upstream_->socket();
  if (upstream_started_ns_ == 0) upstream_started_ns_ = Reactor::precise_now_ns();
  if (request_sent_ < request_.size()) {
    const IoResult result =
        socket.write(request_.data() + request_sent_, request_.size() - request_sent_);
    if (result.status == IoStatus::Failed) {
      on_request_write_failed();
      return;
    }
    request_sent_ += result.bytes;
    bytes_written_upstream_ += result.bytes;
    if (result.status == IoStatus::WouldBlock) return;
  }
  if (!upstream_out_.is_empty() && !is_awaiting_switch()) {
    const std::string_view bytes = upstream_out_.view();
    const IoResult result = socket.write(bytes.data(), bytes.size());
    if (result.status == IoStatus::Failed) {
      on_request_write_failed();
      return;
    }
    bytes_written_upstream_ += result.bytes;
    if (result.bytes > 0) is_replayable_ = false;
    upstream_out_.consume(worker_.buffers(), result.bytes);
    if (result.bytes > 0) arm(idle_timeout());
  }
  if (is_request_complete_ || is_awaiting_switch()) after_request_sent();
}

bool Exchange::is_request_sent() const {
  if (is_awaiting_tunnel()) return true;
  if (uses_http2_) return is_request_complete_ && (!http2_stream_ || http2_stream_->is_sent());
  if (is_awaiting_switch()) return request_sent_ == request_.size();
  return is_request_complete_ && request_sent_ == request_.size() && upstream_out_.is_empty();
}

// From the request's last byte on, the response is due.
void Exchange::after_request_sent() {
  if (!is_request_sent() || !is_dispatched_) return;
  if (is_tunnel_ && upstream_) upstream_->socket().shutdown_write();
  if (response_state_ != ResponseState::AwaitingHead) return;
  arm(response_timeout());
}

// A gRPC server may say nothing for long, and its client has a deadline of its own.
std::chrono::milliseconds Exchange::response_timeout() const {
  if (is_grpc_) return config().timeouts.stream_idle;
  return cluster_ ? cluster_->config().timeouts.response_headers
                  : config().timeouts.response_headers;
}

}  // namespace pillion::proxy
