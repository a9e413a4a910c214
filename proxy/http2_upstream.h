// An HTTP/2 connection to an endpoint, shared by the exchanges of a worker: each has a stream on
// it. Owned by the endpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/body_parts.h"
#include "proxy/http2_session.h"
#include "proxy/size_pool.h"
#include "proxy/upstream_connection.h"

namespace pillion::proxy {

class Http2Upstream;

// A request as it is sent, kept for a retry: head, and what of the body came with it.
struct Http2Request {
  Http2Fields fields;
  std::string body;
  std::string trailers;
  std::string websocket_key;  // of an HTTP/1 client, which waits for the answer to it
  bool is_complete = false;
  bool is_websocket = false;  // extended CONNECT

  bool has_body() const { return !is_complete || !body.empty() || !trailers.empty(); }
  void clear() {
    fields.clear();
    body.clear();
    trailers.clear();
    websocket_key.clear();
    is_complete = is_websocket = false;
  }
};

struct Http2Failure {
  enum class Kind : std::uint8_t {
    Connect,    // no connection came about; see error and tls_failure
    Unseen,     // the peer says, or it is certain, that the request was not looked at
    Reset,      // RST_STREAM
    Closed,     // the connection ended under it
    Malformed,  // the response breaks the rules
    NoConnect,  // the peer does not take extended CONNECT
  };
  Kind kind = Kind::Closed;
  int error = 0;  // errno
  std::string tls_failure;
  std::uint32_t code = 0;  // of HTTP/2
};

// Who made the request. Calls come from the reactor, never from inside a call of its own.
class Http2Requester {
 public:
  virtual void on_http2_room() = 0;  // more of the body may be sent
  // A head is complete, informational ones too.
  virtual void on_http2_head(Http2HeadReader& reader, bool is_end) = 0;
  virtual void on_http2_data(std::string_view data) = 0;
  virtual void on_http2_end(std::string_view trailer_section) = 0;
  // The stream is gone; nothing follows.
  virtual void on_http2_failed(const Http2Failure& failure) = 0;
  // Whether data may come; else it is held back by the stream's window.
  virtual bool can_take_http2() const = 0;

 protected:
  ~Http2Requester() = default;
};

class Http2UpstreamStream final : public Http2Stream, public Pooled {
 public:
  Http2UpstreamStream(Http2Upstream& owner, Http2Requester& requester)
      : owner_(owner), requester_(&requester) {}

  void send(BodyParts& body, std::string_view trailer_section);
  bool is_sent() const { return is_end_sent; }
  void resume_response();
  // The requester wants no more of it, and it is reset.
  void abandon();
  // The response is complete. What is left of the request is cut off (RFC 9113 §8.1).
  void let_go();

 private:
  friend class Http2Upstream;
  Http2Upstream& owner_;
  Http2Requester* requester_;              // null once it is told of the end, or abandoned it
  const Http2Request* waiting_ = nullptr;  // the requester's, until the peer's settings have come
};

class Http2Upstream final : public Watcher,
                            public Deadline,
                            private UpstreamUser,
                            private Http2Events {
 public:
  Http2Upstream(Reactor& reactor, BufferPool& buffers, Endpoint& endpoint);
  ~Http2Upstream() override;

  Result<void> connect();
  // Whether one more stream may be opened.
  bool has_room() const;
  bool is_connected() const { return is_connected_; }
  std::size_t streams() const { return streams_.size(); }
  bool was_used() const { return was_used_; }
  Http2UpstreamStream* request(Http2Requester& requester, const Http2Request& request);
  // Ends it with its streams; the endpoint lets go of it.
  void close(const Http2Failure& failure);

  void on_events(std::uint32_t events) override;
  void on_deadline(Milliseconds now) override;

 private:
  friend class Http2UpstreamStream;

  void on_upstream_connected() override;
  void on_upstream_connect_failed(int error) override;
  void on_upstream_ready() override;
  Http2Stream* on_stream_begun(std::int32_t) override { return nullptr; }
  void on_head(Http2Stream& stream, bool is_end) override;
  void on_data(Http2Stream& stream, std::string_view data) override;
  void on_end(Http2Stream& stream) override;
  void on_closed(Http2Stream& stream, std::uint32_t error) override;
  void on_room(Http2Stream& stream) override;
  void on_end_sent(Http2Stream&) override {}
  void on_settings() override;
  void on_goaway(std::int32_t last_stream, std::uint32_t error) override;
  void on_session_failed(std::string_view reason) override;
  bool submit(Http2UpstreamStream& stream, const Http2Request& request);
  void submit_waiting(Http2UpstreamStream& stream);
  void drop(Http2UpstreamStream& stream);
  std::unique_ptr<Http2UpstreamStream> take_out(Http2Stream& stream);
  void arm_idle();

  Reactor& reactor_;
  BufferPool& buffers_;
  Endpoint& endpoint_;
  std::unique_ptr<UpstreamConnection> connecting_;
  Socket socket_;
  std::unique_ptr<Http2Session> session_;
  std::vector<std::unique_ptr<Http2UpstreamStream>> streams_;  // in no order
  bool is_connected_ = false;
  bool has_settings_ = false;
  bool is_going_away_ = false;
  bool is_closed_ = false;
  bool was_used_ = false;
};

}  // namespace pillion::proxy
