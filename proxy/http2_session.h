// One HTTP/2 connection's protocol state, either side, over nghttp2: bytes in, events out; bodies
// and heads in, bytes out. It owns the streams' send queues and the guard against floods, writes
// what a batch of the reactor gathered in one go, and stops reading from a peer that does not read.
// It knows nothing of requests: see http2_connection.h (server) and http2_upstream.h (client).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/body_parts.h"
#include "proxy/buffers.h"
#include "proxy/http2_guard.h"
#include "proxy/http2_head.h"
#include "proxy/reactor.h"
#include "proxy/socket.h"

struct nghttp2_session;

namespace pillion::proxy {

// What both sides keep of a stream.
struct Http2Stream {
  std::int32_t id = 0;
  std::size_t index = 0;          // its owner's
  bool is_head_received = false;  // what comes now are trailers
  bool is_receive_ended = false;  // END_STREAM came
  ByteQueue out;                  // body to send
  std::string trailers;           // raw section to send behind it
  bool is_out_ended = false;      // nothing is added to `out` any more
  bool is_end_sent = false;       // END_STREAM was sent
  bool is_deferred = false;       // nghttp2 waits for more of `out`
  bool was_full = false;          // the writer was told to wait
  std::size_t unconsumed = 0;     // received, not yet given back as window

  static constexpr std::size_t kOutBytesMax = 64 * 1024;
  bool has_room() const { return out.size() < kOutBytesMax; }
};

class Http2Events {
 public:
  // A request's or a response's head; server: the first event of a stream is this one.
  virtual Http2Stream* on_stream_begun(std::int32_t id) = 0;  // server only; null: refused
  virtual void on_head(Http2Stream& stream, bool is_end) = 0;
  virtual void on_data(Http2Stream& stream, std::string_view data) = 0;
  virtual void on_end(
      Http2Stream& stream) = 0;  // after data or trailers; not after on_head(…, true)
  virtual void on_closed(Http2Stream& stream, std::uint32_t error) = 0;
  virtual void on_room(Http2Stream& stream) = 0;  // `out` has room again
  virtual void on_end_sent(Http2Stream& stream) = 0;
  virtual void on_settings() {}  // the peer's, at the start and when they change
  virtual void on_goaway(std::int32_t last_stream, std::uint32_t error) = 0;
  // The connection cannot go on; nothing is called after it. `reason` is for people.
  virtual void on_session_failed(std::string_view reason) = 0;

 protected:
  ~Http2Events() = default;
};

struct Http2Limits {
  std::size_t head_bytes_max = 60 * 1024;
  std::size_t head_fields_max = 100;
  unsigned streams_max = 100;  // that the peer may open
  std::uint32_t stream_window = 64 * 1024 - 1;
  std::uint32_t connection_window = 1 << 20;
};

class Http2Session final : private BatchEnd {
 public:
  enum class Role : std::uint8_t { Server, Client };

  // The socket must outlive the session.
  Http2Session(Role role, Reactor& reactor, BufferPool& buffers, Socket& socket,
               Http2Events& events, const Http2Limits& limits);
  ~Http2Session();

  // Bytes from the peer.
  void receive(std::string_view bytes);
  // Reads while there is something and the peer reads too; `watcher` is told when to go on. The end
  // of the connection ends the session.
  void read(Watcher& watcher);
  // Writes what is ready at the end of the reactor's batch.
  void schedule();
  void flush();
  bool is_flushed() const { return out_.is_empty(); }
  bool is_failed() const { return is_failed_; }
  // It failed, or ended, on our side: the peer has yet to read why.
  bool is_ended_by_us() const { return is_ended_; }
  std::string_view failure() const { return failure_; }
  // False once a GOAWAY was exchanged and the last stream is gone.
  bool is_wanted() const;

  // Client: a new stream. Negative when the session takes no more.
  std::int32_t submit_request(Http2Stream& stream, const Http2Fields& fields, bool has_body);
  void submit_head(Http2Stream& stream, const Http2Fields& fields, bool has_body);  // of a response
  void submit_informational(Http2Stream& stream, const Http2Fields& fields);
  // Adds to the body; `trailers` count with body.is_done.
  void send(Http2Stream& stream, BodyParts& body, std::string_view trailers);
  void reset(Http2Stream& stream, std::uint32_t error);
  // The same behind what can be written at once.
  void reset_after_flush(Http2Stream& stream, std::uint32_t error);
  // What was received has been used: the peer may send as much again.
  void consume(Http2Stream& stream, std::size_t bytes);
  // GOAWAY: first that no more is wanted, later which stream was the last.
  void announce_shutdown();
  void finish_shutdown();

  // The head or the trailers that came last; valid in on_head() and on_end(). One per session,
  // since nothing may come between the frames of a head (RFC 9113 §4.3).
  Http2HeadReader& head() { return head_; }
  std::uint32_t peer_streams_max() const;
  bool takes_extended_connect() const;  // the peer, by its settings (RFC 8441 §3)

 private:
  friend struct Http2Callbacks;

  void on_batch_end() override;
  void fail(std::string_view reason);
  void fill();
  // The session ends with this error. Safe in callbacks: nghttp2 must not be told of it there.
  void condemn(std::uint32_t error, std::string_view reason);
  void terminate();  // tells nghttp2, outside of its calls
  void start_trailers(Http2Stream& stream);
  void notify_rooms();
  void submit_late_resets();
  bool indexes_ids();  // the head that is submitted now, see fill_array

  Reactor& reactor_;
  BufferPool& buffers_;
  Socket& socket_;
  Http2Events& events_;
  const Http2Limits limits_;
  const Role role_;
  nghttp2_session* session_ = nullptr;
  Http2Guard guard_;
  Http2HeadReader head_;
  Http2Stream* head_stream_ = nullptr;  // whose head or trailers are being received
  ByteQueue out_;
  std::vector<std::int32_t> with_room_;
  struct LateReset {
    std::int32_t id = 0;
    std::uint32_t error = 0;
  };
  std::vector<LateReset> late_resets_;
  std::string failure_;
  unsigned heads_sent_ = 0;
  bool is_scheduled_ = false;
  bool is_failed_ = false;
  bool is_ended_ = false;
  bool is_flushing_ = false;
  std::uint32_t error_ = 0;      // for the GOAWAY
  bool is_terminating_ = false;  // nothing more is parsed
  bool is_terminated_ = false;   // the GOAWAY is on its way
};

}  // namespace pillion::proxy
