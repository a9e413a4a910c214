// Whatever a peer sends, an HTTP/2 session lives or fails, and what it makes of a head is HTTP/1
// text that the strict parser takes or refuses. The first byte chooses the side and how the rest is
// cut.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "proxy/http2_session.h"
#include "runtime/http1/head_parser.h"
#include "runtime/loop.h"

using namespace pillion;
using namespace pillion::proxy;

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Answers every request, and takes every response.
class Peer final : public Http2Events {
 public:
  Peer(Http2Session::Role role, Reactor& reactor, BufferPool& buffers)
      : buffers_(buffers), session_(role, reactor, buffers, socket_, *this, {}), role_(role) {
    if (role == Http2Session::Role::Server) return;
    Http2Fields fields;
    for (const auto& [name, value] : {std::pair{":method", "GET"}, std::pair{":scheme", "http"},
                                      std::pair{":authority", "h"}, std::pair{":path", "/"}}) {
      fields.add(name, value);
    }
    for (int i = 0; i < 3; ++i) {
      streams_.push_back(std::make_unique<Http2Stream>());
      session_.submit_request(*streams_.back(), fields, false);
    }
  }
  ~Peer() {
    for (auto& stream : streams_) {
      if (!stream->out.is_empty()) stream->out.release(buffers_);
    }
  }
  void receive(std::string_view bytes) { session_.receive(bytes); }

 private:
  Http2Stream* on_stream_begun(std::int32_t id) override {
    streams_.push_back(std::make_unique<Http2Stream>());
    streams_.back()->id = id;
    return streams_.back().get();
  }
  void on_head(Http2Stream& stream, bool is_end) override {
    stream.is_head_received = true;
    http1::ParseProgress progress;
    const http1::Limits limits{65535, http1::kFieldsMax};
    if (role_ == Http2Session::Role::Client) {
      http1::ResponseHead head;
      http1::parse_response(session_.head().finish_response(), progress, limits, head);
      return;
    }
    http1::RequestHead head;
    const std::string_view text = session_.head().finish_request("key");
    const auto result = http1::parse_request(text, progress, limits, head);
    // Nothing may be left behind a head: that would be a request of its own.
    if (result.status == http1::ParseStatus::Done) PILLION_ASSERT(result.head_bytes == text.size());
    if (is_end) on_end(stream);
  }
  void on_data(Http2Stream& stream, std::string_view data) override {
    PILLION_ASSERT(stream.unconsumed >= data.size());
    session_.consume(stream, data.size());
  }
  void on_end(Http2Stream& stream) override {
    if (role_ == Http2Session::Role::Client) return;
    session_.head().finish_trailers();
    Http2Fields fields;
    fields.add(":status", "200");
    session_.submit_head(stream, fields, true);
    BodyParts body;
    body.add_data("answer");
    body.is_done = true;
    session_.send(stream, body, "x: y\r\n\r\n");
  }
  void on_closed(Http2Stream& stream, std::uint32_t) override {
    const auto found = std::find_if(streams_.begin(), streams_.end(),
                                    [&](const auto& one) { return one.get() == &stream; });
    PILLION_ASSERT(found != streams_.end());
    if (!stream.out.is_empty()) stream.out.release(buffers_);
    streams_.erase(found);
  }
  void on_room(Http2Stream&) override {}
  void on_end_sent(Http2Stream&) override {}
  void on_goaway(std::int32_t, std::uint32_t) override {}
  void on_session_failed(std::string_view) override {}

  BufferPool& buffers_;
  Socket socket_;  // never open: nothing is written
  std::vector<std::unique_ptr<Http2Stream>> streams_;
  Http2Session session_;
  const Http2Session::Role role_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static Loop loop;
  static Reactor reactor(loop);
  BufferPool buffers;
  const bool is_server = (data[0] & 1) == 0;
  const std::size_t piece = data[0] < 2 ? size : data[0];
  Peer peer(is_server ? Http2Session::Role::Server : Http2Session::Role::Client, reactor, buffers);
  if (is_server) peer.receive(kPreface);
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  while (!rest.empty()) {
    peer.receive(rest.substr(0, piece));
    rest.remove_prefix(std::min(piece, rest.size()));
  }
  return 0;
}
