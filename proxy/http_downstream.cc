// What exchanges ask of an HTTP/1 client: heads, bodies, replies. See http_connection.h.
#include "proxy/http_connection.h"
#include "proxy/worker.h"
#include "runtime/http1/head_writer.h"

namespace pillion::proxy {
namespace {

using http1::BodyKind;
using http1::HeadWriter;
using http1::ResponseHead;

// A body this small is copied behind its head: one buffer and send() cost less than two parts and
// sendmsg().
constexpr std::size_t kCopiedBytesMax = 2048;

void append_via(std::string& out, std::string_view version, std::string_view pseudonym) {
  out.append("Via: ").append(version).append(1, ' ').append(pseudonym).append("\r\n");
}

}  // namespace

void HttpConnection::send_informational(ResponseHead& head) {
  std::string& out = worker_.scratch();
  out.clear();
  HeadWriter writer(out);
  writer.status_line(head.status, head.reason);
  writer.fields(head.fields);
  append_via(out, exchange_->upstream_version(), context_.config().via);
  writer.end();
  iovec part{out.data(), out.size()};
  send_downstream(&part, 1);
}

// Writes the head and decides the framing; it goes out with the first bytes of the body.
void HttpConnection::begin_response(ResponseHead& head, const http1::Framing& framing,
                                    std::optional<std::uint64_t> declared_length) {
  if (is_draining() || !exchange_->is_request_complete()) is_closing_after_response_ = true;
  std::string& out = worker_.scratch();
  out.clear();
  HeadWriter writer(out);
  writer.status_line(head.status,
                     head.reason.empty() ? http1::reason_phrase(head.status) : head.reason);
  writer.fields(head.fields);
  writer.field("X-Request-ID", exchange_->request_id());
  append_via(out, exchange_->upstream_version(), context_.config().via);
  response_coding_ = Coding::Plain;
  if (framing.kind == BodyKind::Length) {
    writer.content_length(framing.length);
  } else if (declared_length) {
    writer.content_length(*declared_length);
  } else if (framing.kind == BodyKind::Chunked || framing.kind == BodyKind::UntilClose) {
    if (exchange_->is_http10()) {
      response_coding_ = Coding::UntilClose;
      is_closing_after_response_ = true;
    } else {
      response_coding_ = Coding::Chunked;
      writer.chunked();
    }
  }
  if (is_closing_after_response_) {
    out.append("Connection: close\r\n");
  } else if (exchange_->is_http10()) {
    out.append("Connection: keep-alive\r\n");
  }
  writer.end();
  is_head_pending_ = true;
}

bool HttpConnection::send_response(BodyParts& body, std::string_view trailer_section) {
  std::string tail;
  const bool is_head_sent = is_head_pending_;
  is_head_pending_ = false;
  if (response_coding_ == Coding::Chunked) {
    body.wrap_in_chunk();
    if (body.is_done && !body.is_failed) {
      body.is_failed = !append_last_chunk(trailer_section, tail);
      if (!body.is_failed) body.add(tail);
    }
  }
  if (is_head_sent) {
    std::string& head = worker_.scratch();
    if (response_coding_ == Coding::Plain && body.data_bytes <= kCopiedBytesMax) {
      for (std::size_t i = 0; i < body.size(); ++i) {
        head.append(static_cast<const char*>(body.begin()[i].iov_base), body.begin()[i].iov_len);
      }
      body.count = body.first;
    }
    body.prepend(head);
  }
  return !body.has_parts() || send_downstream(body.begin(), body.size());
}

void HttpConnection::send_reply(const LocalReply& reply) {
  if (!exchange_->is_request_complete()) {
    is_closing_after_response_ = true;
    needs_lingering_ = true;
  }
  is_closing_after_response_ |= reply.ends_connection;
  std::string out;
  HeadWriter writer(out);
  writer.status_line(reply.status, http1::reason_phrase(reply.status));
  if (reply.fields.empty()) writer.field("Content-Type", "text/plain; charset=utf-8");
  for (const auto& [name, value] : reply.fields) writer.field(name, value);
  writer.field("Proxy-Status", reply.proxy_status);
  if (!exchange_->request_id().empty()) writer.field("X-Request-ID", exchange_->request_id());
  writer.field("Via", std::string("1.1 ") + context_.config().via);
  writer.content_length(reply.body.size());
  if (is_closing_after_response_) {
    writer.field("Connection", "close");
  } else if (exchange_->is_http10()) {
    writer.field("Connection", "keep-alive");
  }
  writer.end();
  if (!exchange_->is_head()) out.append(reply.body);
  iovec part{out.data(), out.size()};
  if (send_downstream(&part, 1)) end_response();
}

void HttpConnection::end_response() {
  if (!exchange_->is_request_complete()) needs_lingering_ = true;
  if (out_.is_empty()) {
    finish_exchange();
  } else {
    state_ = State::Flushing;
    exchange_->touch();
  }
}

// No last chunk is sent, and where only the close marks the end it becomes a reset.
void HttpConnection::truncate_response() {
  is_closing_after_response_ = true;
  if (response_coding_ == Coding::UntilClose || is_tunnel_) is_reset_on_close_ = true;
  if (out_.is_empty()) {
    finish_exchange();
  } else {
    state_ = State::Flushing;
    exchange_->touch();
  }
}

// The connection is never parsed again.
void HttpConnection::refuse_request() {
  is_closing_after_response_ = true;
  needs_lingering_ = true;
  held_.release(worker_.buffers());
}

void HttpConnection::abort_exchange() {
  // The end of a connection could pass for the end of a response that is not whole.
  if (exchange_->is_response_begun()) is_reset_on_close_ = true;
  give_exchange();
  close();
}

void HttpConnection::begin_tunnel(ResponseHead& head, std::string_view accept) {
  is_tunnel_ = true;
  is_closing_after_response_ = true;
  response_coding_ = Coding::Plain;
  std::string& out = worker_.scratch();
  out.clear();
  HeadWriter writer(out);
  writer.status_line(101, http1::reason_phrase(101));
  writer.fields(head.fields);
  writer.field("Upgrade", "websocket");
  writer.field("Connection", "Upgrade");
  writer.field("Sec-WebSocket-Accept", accept);
  writer.field("X-Request-ID", exchange_->request_id());
  append_via(out, exchange_->upstream_version(), context_.config().via);
  writer.end();
  iovec part{out.data(), out.size()};
  if (!send_downstream(&part, 1)) return;
  if (!held_.is_empty()) {  // what the client sent ahead
    const std::uint64_t exchanges = exchanges_;
    BodyParts body;
    body.add_data(held_.view());
    exchange_->send_body(body, {});
    if (exchanges != exchanges_) return;
    held_.release(worker_.buffers());
  }
  read_downstream();
}

void HttpConnection::switch_protocols(ResponseHead& head, std::string_view rest, RelayFacts facts,
                                      Socket upstream) {
  std::string out;
  HeadWriter writer(out);
  writer.status_line(101, head.reason);
  writer.fields(head.fields);
  writer.field("X-Request-ID", exchange_->request_id());
  append_via(out, exchange_->upstream_version(), context_.config().via);
  writer.field("Connection", "Upgrade");
  writer.end();
  out.append(rest);
  state_ = State::Closed;
  worker_.reactor().timers().disarm(*this);
  auto relay = std::make_unique<TcpRelay>(worker_, std::move(facts), std::move(socket_),
                                          std::move(upstream), held_.view(), out);
  held_.release(worker_.buffers());
  ++exchanges_;
  worker_.give_exchange(std::move(exchange_));  // the relay records it
  TcpRelay& begun = *relay;
  worker_.adopt(std::move(relay));
  worker_.remove(*this);
  begun.begin();
}

}  // namespace pillion::proxy
