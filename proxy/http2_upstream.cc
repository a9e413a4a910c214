#include "proxy/http2_upstream.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "proxy/endpoint.h"
#include "runtime/log.h"

namespace pillion::proxy {
namespace {

// Before the peer's SETTINGS have come (RFC 9113 §6.5.2 recommends no fewer than 100).
constexpr std::size_t kStreamsMax = 100;

Http2Limits upstream_limits() {
  Http2Limits limits;
  limits.stream_window = 256 * 1024;
  return limits;
}

}  // namespace

// ---- A stream -----------------------------------------------------------------------------------

void Http2UpstreamStream::send(BodyParts& body, std::string_view trailer_section) {
  owner_.session_->send(*this, body, trailer_section);
}

void Http2UpstreamStream::resume_response() { owner_.session_->consume(*this, unconsumed); }

void Http2UpstreamStream::abandon() {
  requester_ = nullptr;
  if (owner_.is_closed_) return;
  if (waiting_ != nullptr) {
    owner_.drop(*this);
  } else {
    owner_.session_->reset(*this, NGHTTP2_CANCEL);
  }
}

void Http2UpstreamStream::let_go() {
  requester_ = nullptr;
  if (!owner_.is_closed_ && !is_out_ended) owner_.session_->reset(*this, NGHTTP2_CANCEL);
}

// ---- The connection -----------------------------------------------------------------------------

Http2Upstream::Http2Upstream(Reactor& reactor, BufferPool& buffers, Endpoint& endpoint)
    : reactor_(reactor), buffers_(buffers), endpoint_(endpoint) {}

Http2Upstream::~Http2Upstream() {
  for (auto& stream : streams_) {
    if (!stream->out.is_empty()) stream->out.release(buffers_);
  }
}

Result<void> Http2Upstream::connect() {
  Http2Events& events = *this;
  session_ = std::make_unique<Http2Session>(Http2Session::Role::Client, reactor_, buffers_, socket_,
                                            events, upstream_limits());
  auto begun = endpoint_.connect(*this);
  if (!begun) return fail(begun.error());
  connecting_ = std::move(*begun);
  return {};
}

bool Http2Upstream::has_room() const {
  if (is_going_away_ || is_closed_) return false;
  const std::size_t allowed =
      is_connected_ ? std::min<std::size_t>(session_->peer_streams_max(), 1000) : kStreamsMax;
  return streams_.size() < std::min(allowed, kStreamsMax);
}

Http2UpstreamStream* Http2Upstream::request(Http2Requester& requester,
                                            const Http2Request& request) {
  auto stream = std::make_unique<Http2UpstreamStream>(*this, requester);
  Http2UpstreamStream* begun = stream.get();
  if (request.is_websocket && !has_settings_) {
    begun->waiting_ = &request;
  } else if (request.is_websocket && !session_->takes_extended_connect()) {
    return nullptr;
  } else if (!submit(*begun, request)) {
    return nullptr;
  }
  begun->index = streams_.size();
  streams_.push_back(std::move(stream));
  reactor_.timers().disarm(*this);
  was_used_ = true;
  return begun;
}

bool Http2Upstream::submit(Http2UpstreamStream& stream, const Http2Request& request) {
  if (session_->submit_request(stream, request.fields, request.has_body()) < 0) return false;
  if (request.has_body()) {
    BodyParts body;
    if (!request.body.empty()) body.add_data(request.body);
    body.is_done = request.is_complete;
    session_->send(stream, body, request.trailers);
  } else {
    stream.is_out_ended = true;
  }
  return true;
}

// Whether extended CONNECT may be sent, only the peer's settings tell (RFC 8441 §3).
void Http2Upstream::on_settings() {
  has_settings_ = true;
  std::vector<Http2UpstreamStream*> waiting;
  for (const auto& stream : streams_) {
    if (stream->waiting_ != nullptr) waiting.push_back(stream.get());
  }
  for (Http2UpstreamStream* stream : waiting) submit_waiting(*stream);
}

void Http2Upstream::submit_waiting(Http2UpstreamStream& stream) {
  if (stream.waiting_ == nullptr) return;
  if (session_->takes_extended_connect() && submit(stream, *stream.waiting_)) {
    stream.waiting_ = nullptr;
    return;
  }
  Http2Requester* requester = std::exchange(stream.requester_, nullptr);
  drop(stream);
  requester->on_http2_failed({Http2Failure::Kind::NoConnect, 0, {}, 0});
}

std::unique_ptr<Http2UpstreamStream> Http2Upstream::take_out(Http2Stream& stream) {
  const std::size_t index = stream.index;
  auto taken = std::move(streams_[index]);
  if (index + 1 != streams_.size()) {
    streams_[index] = std::move(streams_.back());
    streams_[index]->index = index;
  }
  streams_.pop_back();
  return taken;
}

// Of a stream that the session does not know.
void Http2Upstream::drop(Http2UpstreamStream& stream) {
  stream.waiting_ = nullptr;
  if (!stream.out.is_empty()) stream.out.release(buffers_);
  reactor_.bury(take_out(stream));
  if (streams_.empty() && !is_closed_) arm_idle();
}

void Http2Upstream::arm_idle() {
  reactor_.timers().arm(*this, reactor_.now() + endpoint_.options().pool_idle);
}

void Http2Upstream::on_deadline(Milliseconds) {
  if (streams_.empty()) close({});
}

void Http2Upstream::close(const Http2Failure& failure) {
  if (is_closed_) return;
  is_closed_ = true;
  reactor_.timers().disarm(*this);
  auto streams = std::move(streams_);
  streams_.clear();
  for (auto& stream : streams) {
    Http2Requester* requester = std::exchange(stream->requester_, nullptr);
    if (requester != nullptr) {
      Http2Failure told = failure;
      // What never left us was never seen.
      if (failure.kind == Http2Failure::Kind::Closed && !is_connected_) {
        told.kind = Http2Failure::Kind::Unseen;
      }
      requester->on_http2_failed(told);
    }
  }
  for (auto& stream : streams) {
    if (!stream->out.is_empty()) stream->out.release(buffers_);
    reactor_.bury(std::move(stream));
  }
  if (connecting_) endpoint_.discard(std::move(connecting_));
  socket_.close();
  endpoint_.remove_http2(*this);
}

// ---- Connecting ---------------------------------------------------------------------------------

void Http2Upstream::on_upstream_connected() {
  Socket& socket = connecting_->socket();
  if (socket.tls() != nullptr && socket.tls()->negotiated_alpn() != "h2") {
    close({Http2Failure::Kind::Connect, EPROTO, "the upstream does not speak HTTP/2 (ALPN)", 0});
    return;
  }
  socket_ = std::move(socket);
  socket_.attach(*this);
  endpoint_.detach(std::move(connecting_));
  is_connected_ = true;
  session_->flush();
  if (!is_closed_) session_->read(*this);
}

void Http2Upstream::on_upstream_connect_failed(int error) {
  Http2Failure failure{Http2Failure::Kind::Connect, error, {}, 0};
  if (error == EPROTO && connecting_ && connecting_->socket().tls() != nullptr) {
    failure.tls_failure = connecting_->socket().tls()->failure();
  }
  close(failure);
}

void Http2Upstream::on_upstream_ready() {}  // the socket was taken over

void Http2Upstream::on_events(std::uint32_t events) {
  if (is_closed_) return;
  socket_.note_events(events);
  if (!session_->is_flushed() && socket_.is_writable()) session_->schedule();
  session_->read(*this);
}

// ---- Events of the session ----------------------------------------------------------------------

void Http2Upstream::on_head(Http2Stream& base, bool is_end) {
  auto& stream = static_cast<Http2UpstreamStream&>(base);
  if (stream.requester_ == nullptr) return;
  Http2HeadReader& reader = session_->head();
  stream.is_head_received = !reader.is_informational();
  if (reader.is_too_large() || !reader.is_response()) {
    Http2Requester* requester = std::exchange(stream.requester_, nullptr);
    session_->reset(stream, NGHTTP2_PROTOCOL_ERROR);
    requester->on_http2_failed({Http2Failure::Kind::Malformed, 0, {}, NGHTTP2_PROTOCOL_ERROR});
    return;
  }
  stream.requester_->on_http2_head(reader, is_end);
}

void Http2Upstream::on_data(Http2Stream& base, std::string_view data) {
  auto& stream = static_cast<Http2UpstreamStream&>(base);
  if (stream.requester_ != nullptr) stream.requester_->on_http2_data(data);
  // What the client has not taken stays charged to the stream's window.
  if (stream.requester_ == nullptr || stream.requester_->can_take_http2()) {
    session_->consume(stream, stream.unconsumed);
  }
}

void Http2Upstream::on_end(Http2Stream& base) {
  auto& stream = static_cast<Http2UpstreamStream&>(base);
  if (stream.requester_ != nullptr)
    stream.requester_->on_http2_end(session_->head().finish_trailers());
}

void Http2Upstream::on_closed(Http2Stream& base, std::uint32_t error) {
  if (is_closed_) return;
  auto closed = take_out(base);
  Http2UpstreamStream& stream = *closed;
  if (Http2Requester* requester = std::exchange(stream.requester_, nullptr)) {
    const bool is_unseen = error == NGHTTP2_REFUSED_STREAM;
    requester->on_http2_failed(
        {is_unseen ? Http2Failure::Kind::Unseen : Http2Failure::Kind::Reset, 0, {}, error});
  }
  if (!stream.out.is_empty()) stream.out.release(buffers_);
  reactor_.bury(std::move(closed));
  if (streams_.empty() && !is_closed_) arm_idle();
}

void Http2Upstream::on_room(Http2Stream& base) {
  auto& stream = static_cast<Http2UpstreamStream&>(base);
  if (stream.requester_ != nullptr) stream.requester_->on_http2_room();
}

// nghttp2 closes the streams above the last one itself, as refused.
void Http2Upstream::on_goaway(std::int32_t, std::uint32_t error) {
  is_going_away_ = true;
  if (error != NGHTTP2_NO_ERROR) {
    log::debug("HTTP/2 to {}: GOAWAY, {}", endpoint_.text(), nghttp2_http2_strerror(error));
  }
  if (streams_.empty()) session_->schedule();
}

void Http2Upstream::on_session_failed(std::string_view reason) {
  log::debug("HTTP/2 to {}: {}", endpoint_.text(), reason);
  close({Http2Failure::Kind::Closed, 0, {}, 0});
}

}  // namespace pillion::proxy
