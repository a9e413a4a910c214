#include "proxy/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

#include "proxy/size_pool.h"
#include "runtime/http1/head_parser.h"
#include "runtime/http1/hop_by_hop.h"
#include "runtime/result.h"

namespace pillion::proxy {
namespace {

constexpr std::size_t kOutBytesPerWrite = 64 * 1024;
constexpr unsigned kHeadsPerIndexedId = 512;
// Above it a peer that does not read is not read from either.
constexpr std::size_t kQueuedFramesMax = 1000;

std::string_view view_of(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

// With `indexes_ids`, what is new with every head enters the peer's compression table once more.
void fill_array(const Http2Fields& fields, bool indexes_ids, std::vector<nghttp2_nv>& array) {
  array.clear();
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::string_view name = fields.name(i);
    const std::string_view value = fields.value(i);
    // What identifies people or grants access is never put into a compression table; what is new
    // with every request would only push the rest out of it, but its name is worth a place there.
    const bool is_id = name == "x-request-id" || name == "traceparent";
    const bool is_unindexed =
        (is_id && !indexes_ids) || name == "authorization" || name == "x-forwarded-client-cert";
    array.push_back({bytes_of(name), bytes_of(value), name.size(), value.size(),
                     static_cast<std::uint8_t>(is_unindexed ? NGHTTP2_NV_FLAG_NO_INDEX
                                                            : NGHTTP2_NV_FLAG_NONE)});
  }
}

std::vector<nghttp2_nv>& shared_array() {
  thread_local std::vector<nghttp2_nv> array;
  return array;
}

// Whether a stream was reset for what the peer did. The other codes we send for reasons of our own.
bool is_peers_fault(std::uint32_t code) {
  return code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL && code != NGHTTP2_INTERNAL_ERROR;
}

Http2Stream* stream_of(nghttp2_session* session, std::int32_t id) {
  return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
}

}  // namespace

// nghttp2's view of the session. A negative return ends it, except where said otherwise.
struct Http2Callbacks {
  static Http2Session& self(void* data) { return *static_cast<Http2Session*>(data); }

  // RFC 9113 §5.1.1: a stream that was skipped is closed. nghttp2 ignores what is sent on it.
  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* header, void* data) {
    Http2Session& session = self(data);
    if (header->type == NGHTTP2_HEADERS && session.role_ == Http2Session::Role::Server &&
        !session.guard_.on_headers_id(header->stream_id)) {
      session.condemn(NGHTTP2_PROTOCOL_ERROR, "HEADERS on a stream that was skipped");
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
  }

  static int on_begin_headers(nghttp2_session* raw, const nghttp2_frame* frame, void* data) {
    Http2Session& session = self(data);
    session.head_.clear();
    session.head_stream_ = stream_of(raw, frame->hd.stream_id);
    if (session.head_stream_ != nullptr) return 0;
    if (session.role_ != Http2Session::Role::Server) return 0;
    session.guard_.on_stream();
    Http2Stream* stream = session.events_.on_stream_begun(frame->hd.stream_id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // resets the stream
    nghttp2_session_set_stream_user_data(raw, frame->hd.stream_id, stream);
    session.head_stream_ = stream;
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t, void* data) {
    Http2Session& session = self(data);
    if (session.head_stream_ == nullptr) return 0;
    session.head_.add(view_of(name, name_size), view_of(value, value_size),
                      session.limits_.head_bytes_max, session.limits_.head_fields_max);
    return 0;
  }

  static int on_frame(nghttp2_session* raw, const nghttp2_frame* frame, void* data) {
    Http2Session& session = self(data);
    Http2Guard& guard = session.guard_;
    const bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    bool is_fine = true;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: is_fine = on_headers(session, raw, frame, is_end); break;
      case NGHTTP2_DATA: {
        is_fine = guard.on_data_frame(frame->hd.length - frame->data.padlen, is_end);
        Http2Stream* stream = stream_of(raw, frame->hd.stream_id);
        if (is_end && stream != nullptr) {
          stream->is_receive_ended = true;
          session.head_.clear();
          session.events_.on_end(*stream);
        }
        break;
      }
      case NGHTTP2_PING:
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
          is_fine = guard.on_control_frame(session.reactor_.now());
          if (frame->hd.type == NGHTTP2_SETTINGS) session.events_.on_settings();
        }
        break;
      case NGHTTP2_PRIORITY: is_fine = guard.on_priority(); break;
      case NGHTTP2_WINDOW_UPDATE: is_fine = guard.on_window_update(); break;
      case NGHTTP2_GOAWAY:
        session.events_.on_goaway(frame->goaway.last_stream_id, frame->goaway.error_code);
        break;
      default: break;
    }
    if (!is_fine) session.condemn(NGHTTP2_ENHANCE_YOUR_CALM, guard.reason());
    return session.is_terminating_ ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  }

  static bool on_headers(Http2Session& session, nghttp2_session* raw, const nghttp2_frame* frame,
                         bool is_end) {
    Http2Stream* stream = stream_of(raw, frame->hd.stream_id);
    if (stream == nullptr) return true;
    session.guard_.on_payload(session.head_.bytes());
    if (session.head_.is_empty() && !session.guard_.on_empty_headers()) return false;
    if (is_end) stream->is_receive_ended = true;
    if (stream->is_head_received) {
      if (is_end) session.events_.on_end(*stream);
    } else {
      session.events_.on_head(*stream, is_end);
    }
    return true;
  }

  static int on_data(nghttp2_session* raw, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                     std::size_t size, void* data) {
    Http2Session& session = self(data);
    Http2Stream* stream = stream_of(raw, id);
    // A stream that is not read from holds back itself, not the others of its connection.
    nghttp2_session_consume_connection(raw, size);
    if (stream == nullptr) return 0;
    stream->unconsumed += size;
    session.events_.on_data(*stream, view_of(bytes, size));
    return 0;
  }

  static int on_stream_close(nghttp2_session* raw, std::int32_t id, std::uint32_t error,
                             void* data) {
    Http2Session& session = self(data);
    Http2Stream* stream = stream_of(raw, id);
    if (stream == nullptr) return 0;
    nghttp2_session_set_stream_user_data(raw, id, nullptr);
    if (session.head_stream_ == stream) session.head_stream_ = nullptr;
    session.events_.on_closed(*stream, error);
    return 0;
  }

  static int on_frame_sent(nghttp2_session* raw, const nghttp2_frame* frame, void* data) {
    Http2Session& session = self(data);
    if (frame->hd.type == NGHTTP2_RST_STREAM && is_peers_fault(frame->rst_stream.error_code) &&
        !session.guard_.on_reset_sent(session.reactor_.now())) {
      session.condemn(NGHTTP2_ENHANCE_YOUR_CALM, session.guard_.reason());
    }
    const bool can_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (frame->hd.type == NGHTTP2_DATA) session.guard_.on_data_sent();
    if (can_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      if (Http2Stream* stream = stream_of(raw, frame->hd.stream_id)) {
        stream->is_end_sent = true;
        session.events_.on_end_sent(*stream);
      }
    }
    return 0;
  }

  static ssize_t read_body(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t size,
                           std::uint32_t* flags, nghttp2_data_source* source, void* data) {
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    const std::size_t taken = std::min(size, stream.out.size());
    const bool is_last = stream.is_out_ended && taken == stream.out.size();
    if (taken == 0 && !is_last) {
      stream.is_deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    if (taken > 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (is_last) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        self(data).start_trailers(stream);
      }
    }
    return static_cast<ssize_t>(taken);
  }

  // The frame's header and its bytes go straight to what is written next.
  static int send_body(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header,
                       std::size_t size, nghttp2_data_source* source, void* data) {
    Http2Session& session = self(data);
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    if (session.out_.size() >= 4 * kOutBytesPerWrite) return NGHTTP2_ERR_WOULDBLOCK;
    PILLION_ASSERT(frame->data.padlen == 0 && size <= stream.out.size());
    session.out_.append(session.buffers_, view_of(header, 9));
    session.out_.append(session.buffers_, stream.out.view().substr(0, size));
    stream.out.consume(session.buffers_, size);
    if (stream.was_full && stream.has_room()) {
      stream.was_full = false;
      session.with_room_.push_back(stream.id);
    }
    return 0;
  }

  static nghttp2_session_callbacks* all() {
    static nghttp2_session_callbacks* const callbacks = [] {
      nghttp2_session_callbacks* made = nullptr;
      PILLION_ASSERT(nghttp2_session_callbacks_new(&made) == 0);
      nghttp2_session_callbacks_set_on_begin_frame_callback(made, &on_begin_frame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, &on_begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(made, &on_header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, &on_frame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, &on_data);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, &on_stream_close);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, &on_frame_sent);
      nghttp2_session_callbacks_set_send_data_callback(made, &send_body);
      return made;
    }();
    return callbacks;
  }

  // nghttp2 makes and drops a dozen small things with every stream.
  static nghttp2_mem* memory() {
    static nghttp2_mem memory{
        nullptr, [](std::size_t size, void*) { return pool_allocate(size); },
        [](void* block, void*) { pool_free(block); },
        [](std::size_t count, std::size_t size, void*) {
          return std::memset(pool_allocate(count * size), 0, count * size);
        },
        [](void* block, std::size_t size, void*) { return pool_reallocate(block, size); }};
    return &memory;
  }

  static nghttp2_option* options() {
    static nghttp2_option* const options = [] {
      nghttp2_option* made = nullptr;
      PILLION_ASSERT(nghttp2_option_new(&made) == 0);
      nghttp2_option_set_no_auto_window_update(made, 1);
      nghttp2_option_set_max_outbound_ack(made, 100);
      nghttp2_option_set_stream_reset_rate_limit(made, 200, 20);
      return made;
    }();
    return options;
  }
};

// ---- Life ---------------------------------------------------------------------------------------

Http2Session::Http2Session(Role role, Reactor& reactor, BufferPool& buffers, Socket& socket,
                           Http2Events& events, const Http2Limits& limits)
    : reactor_(reactor),
      buffers_(buffers),
      socket_(socket),
      events_(events),
      limits_(limits),
      role_(role) {
  const int made =
      role == Role::Server
          ? nghttp2_session_server_new3(&session_, Http2Callbacks::all(), this,
                                        Http2Callbacks::options(), Http2Callbacks::memory())
          : nghttp2_session_client_new3(&session_, Http2Callbacks::all(), this,
                                        Http2Callbacks::options(), Http2Callbacks::memory());
  PILLION_ASSERT(made == 0);
  std::vector<nghttp2_settings_entry> settings = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits.head_bytes_max)}};
  if (role == Role::Server) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams_max});
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1});
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<std::int32_t>(limits.connection_window));
}

Http2Session::~Http2Session() {
  reactor_.forget(*this);
  nghttp2_session_del(session_);
  if (!out_.is_empty()) out_.release(buffers_);
}

void Http2Session::fail(std::string_view reason) {
  if (is_failed_) return;
  is_failed_ = true;
  failure_ = reason;
  events_.on_session_failed(failure_);
}

void Http2Session::condemn(std::uint32_t error, std::string_view reason) {
  if (is_terminating_) return;
  is_terminating_ = true;
  error_ = error;
  failure_ = reason;
  schedule();
}

// nghttp2_session_terminate_session() inside a callback would let the parser go on, and an
// assertion of its own fail at the next fault that it finds.
void Http2Session::terminate() {
  if (is_terminated_) return;
  is_terminated_ = true;
  nghttp2_session_terminate_session(session_, error_);
}

bool Http2Session::is_wanted() const {
  return nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0;
}

bool Http2Session::takes_extended_connect() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) ==
         1;
}

std::uint32_t Http2Session::peer_streams_max() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

// ---- Receiving ----------------------------------------------------------------------------------

void Http2Session::receive(std::string_view bytes) {
  if (is_failed_ || is_terminating_) return;
  if (!guard_.on_bytes(bytes.size())) {
    condemn(NGHTTP2_ENHANCE_YOUR_CALM, guard_.reason());
    return;
  }
  const ssize_t used = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  schedule();
  if (used >= 0 || is_failed_) return;
  const bool is_flood = used == NGHTTP2_ERR_FLOODED || used == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
  condemn(is_flood ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR,
          nghttp2_strerror(static_cast<int>(used)));
  flush();  // tells the peer
  is_ended_ = true;
  fail(failure_);
}

void Http2Session::read(Watcher& watcher) {
  for (int turn = 0; !is_failed_ && socket_.is_readable(); ++turn) {
    const bool is_peer_stuck = out_.size() >= kOutBytesPerWrite ||
                               nghttp2_session_get_outbound_queue_size(session_) > kQueuedFramesMax;
    if (is_peer_stuck) {
      flush();
      if (!out_.is_empty()) return;  // the next writable edge reads on
    }
    if (turn >= buffers_.reads_per_turn()) {
      socket_.rearm(watcher);
      return;
    }
    const auto buffer = buffers_.read_buffer();
    const IoResult result = socket_.read(buffer.data(), buffer.size());
    switch (result.status) {
      case IoStatus::Ok: receive({buffer.data(), result.bytes}); break;
      case IoStatus::WouldBlock: return;
      case IoStatus::Eof: fail("the peer closed the connection"); return;
      case IoStatus::Failed: fail("the peer reset the connection"); return;
    }
  }
}

void Http2Session::consume(Http2Stream& stream, std::size_t bytes) {
  bytes = std::min(bytes, stream.unconsumed);
  if (bytes == 0) return;
  stream.unconsumed -= bytes;
  nghttp2_session_consume_stream(session_, stream.id, bytes);
  schedule();
}

// ---- Sending ------------------------------------------------------------------------------------

bool Http2Session::indexes_ids() { return heads_sent_++ % kHeadsPerIndexedId == 0; }

std::int32_t Http2Session::submit_request(Http2Stream& stream, const Http2Fields& fields,
                                          bool has_body) {
  auto& array = shared_array();
  fill_array(fields, indexes_ids(), array);
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = &Http2Callbacks::read_body;
  stream.id = nghttp2_submit_request(session_, nullptr, array.data(), array.size(),
                                     has_body ? &provider : nullptr, &stream);
  guard_.on_stream();
  schedule();
  return stream.id;
}

void Http2Session::submit_head(Http2Stream& stream, const Http2Fields& fields, bool has_body) {
  auto& array = shared_array();
  fill_array(fields, indexes_ids(), array);
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = &Http2Callbacks::read_body;
  nghttp2_submit_response(session_, stream.id, array.data(), array.size(),
                          has_body ? &provider : nullptr);
  schedule();
}

void Http2Session::submit_informational(Http2Stream& stream, const Http2Fields& fields) {
  auto& array = shared_array();
  fill_array(fields, indexes_ids(), array);
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id, nullptr, array.data(),
                         array.size(), nullptr);
  schedule();
}

void Http2Session::send(Http2Stream& stream, BodyParts& body, std::string_view trailers) {
  for (std::size_t i = 0; i < body.size(); ++i) {
    const iovec& part = body.begin()[i];
    stream.out.append(buffers_, {static_cast<const char*>(part.iov_base), part.iov_len});
  }
  if (body.is_done) {
    stream.is_out_ended = true;
    stream.trailers.assign(trailers);
  }
  if (!stream.has_room()) stream.was_full = true;
  if (stream.is_deferred) {
    stream.is_deferred = false;
    nghttp2_session_resume_data(session_, stream.id);
  }
  schedule();
}

// Called while the last DATA frame is being made; what may not be a trailer is dropped.
void Http2Session::start_trailers(Http2Stream& stream) {
  thread_local http1::Fields trailers;
  thread_local Http2Fields fields;
  fields.clear();
  const auto result = http1::parse_field_section(stream.trailers, {}, trailers);
  if (result.status == http1::ParseStatus::Done) {
    http1::remove_forbidden_trailers(trailers);
    fields.add_all(trailers, false);
  }
  auto& array = shared_array();
  fill_array(fields, indexes_ids(), array);
  nghttp2_submit_trailer(session_, stream.id, array.data(), array.size());
}

void Http2Session::reset(Http2Stream& stream, std::uint32_t error) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, error);
  schedule();
}

void Http2Session::reset_after_flush(Http2Stream& stream, std::uint32_t error) {
  late_resets_.push_back({stream.id, error});
  schedule();
}

void Http2Session::submit_late_resets() {
  for (const LateReset& one : late_resets_) {
    if (stream_of(session_, one.id) == nullptr) continue;  // closed meanwhile
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, one.id, one.error);
  }
  late_resets_.clear();
}

void Http2Session::announce_shutdown() {
  nghttp2_submit_shutdown_notice(session_);
  schedule();
}

void Http2Session::finish_shutdown() {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
  schedule();
}

void Http2Session::schedule() {
  if (is_scheduled_ || is_failed_) return;
  is_scheduled_ = true;
  reactor_.at_batch_end(*this);
}

void Http2Session::on_batch_end() {
  is_scheduled_ = false;
  flush();
}

void Http2Session::fill() {
  while (out_.size() < kOutBytesPerWrite) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
    if (size < 0) {
      condemn(NGHTTP2_INTERNAL_ERROR, nghttp2_strerror(static_cast<int>(size)));
      is_terminated_ = true;  // it makes no more frames
      return;
    }
    if (size == 0) return;
    out_.append(buffers_, view_of(bytes, static_cast<std::size_t>(size)));
  }
}

void Http2Session::flush() {
  if (is_failed_ || is_flushing_ || !socket_.is_open()) return;  // still connecting
  is_flushing_ = true;
  while (true) {
    fill();
    if (is_terminating_ && !is_terminated_) {
      terminate();
      fill();
    }
    if (!late_resets_.empty()) {
      submit_late_resets();
      fill();
    }
    if (out_.is_empty()) break;
    const std::string_view bytes = out_.view();
    const IoResult result = socket_.write(bytes.data(), bytes.size());
    if (result.status == IoStatus::Failed) {
      is_flushing_ = false;
      fail("the peer reset the connection");
      return;
    }
    out_.consume(buffers_, result.bytes);
    if (result.status == IoStatus::WouldBlock) break;
  }
  is_flushing_ = false;
  notify_rooms();
  if (!is_failed_ && out_.is_empty() && (is_terminated_ || !is_wanted())) {
    is_ended_ = true;
    fail(failure_.empty() ? "the session has ended" : std::string_view(failure_));
  }
}

// After writing, so that what the receiver sends now is not mixed into a frame under way.
void Http2Session::notify_rooms() {
  while (!with_room_.empty() && !is_failed_) {
    const std::int32_t id = with_room_.back();
    with_room_.pop_back();
    if (Http2Stream* stream = stream_of(session_, id)) events_.on_room(*stream);
  }
}

}  // namespace pillion::proxy
