// A downstream HTTP/2 connection: each stream is the client's side of an exchange of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "proxy/downstream.h"
#include "proxy/exchange.h"
#include "proxy/http2_session.h"
#include "proxy/socket.h"

namespace pillion::proxy {

class Worker;

class Http2Connection final : public Watcher, public Deadline, private Http2Events {
 public:
  // `first` was read from the socket already (the preface, at least its beginning).
  Http2Connection(Worker& worker, DownstreamContext context, Socket socket, std::string_view first);
  ~Http2Connection() override;

  void begin();  // once, after the worker owns it
  // Drain, first step: GOAWAY that names no last stream; new ones are still served.
  void begin_drain();
  // Second step: no new streams; closes when there is none.
  void finish_drain();
  void abort(Flag flag, std::string_view details);
  bool is_idle() const { return streams_.empty(); }
  // Young, and no stream was opened on it.
  bool is_awaiting_first(Milliseconds now) const {
    return requests_ == 0 && static_cast<std::uint32_t>(now) - begun_at_ < kFirstRequestGrace;
  }
  void add_exchanges(std::vector<Exchange*>& exchanges) const;  // those of its streams
  Direction direction() const { return context_.direction; }

  void on_events(std::uint32_t events) override;
  void on_deadline(Milliseconds now) override;

 private:
  class Stream;

  Http2Stream* on_stream_begun(std::int32_t id) override;
  void on_head(Http2Stream& stream, bool is_end) override;
  void on_data(Http2Stream& stream, std::string_view data) override;
  void on_end(Http2Stream& stream) override;
  void on_closed(Http2Stream& stream, std::uint32_t error) override;
  void on_room(Http2Stream& stream) override;
  void on_end_sent(Http2Stream& stream) override;
  void on_goaway(std::int32_t last_stream, std::uint32_t error) override;
  void on_session_failed(std::string_view reason) override;
  void arm(std::chrono::milliseconds delay);
  void watch_head(bool is_pending);
  void close();
  void linger();
  void finish_close();

  Worker& worker_;
  DownstreamContext context_;
  Socket socket_;
  Http2Session session_;
  std::string first_;
  std::vector<std::unique_ptr<Stream>> streams_;  // in no order
  const std::uint32_t begun_at_;                  // the reactor's milliseconds, their low half
  unsigned requests_ = 0;
  bool is_closed_ = false;     // no streams, no session any more
  bool is_lingering_ = false;  // our side is shut; reading on so that the peer sees the GOAWAY
  bool is_head_pending_ = false;
  bool is_draining_ = false;
  bool is_shut_ = false;
};

}  // namespace pillion::proxy
