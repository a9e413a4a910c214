// One GET of a metrics endpoint: of a child inside the service's network namespace, or of a
// component's Unix socket. Bounded in time and size; the peer may be anything.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "config/units.h"
#include "runtime/fd.h"
#include "runtime/http1/chunked.h"
#include "runtime/http1/framing.h"
#include "runtime/loop.h"
#include "runtime/result.h"

namespace pillion::supervisor::host {

struct MetricsEndpoint {
  std::string child;
  std::string unix_path;  // else address and port
  config::IpAddress address;
  std::uint16_t port = 0;
  int network_namespace = -1;  // -1 = the host's
  std::string path = "/metrics";
};

class MetricsFetch {
 public:
  static constexpr std::size_t kBodyBytesMax = 4 << 20;
  using OnDone = std::function<void(Result<std::string> body)>;

  explicit MetricsFetch(Loop& loop);

  // `on_done` runs once, from the loop, unless the object is destroyed before. The error says
  // "connection refused", "HTTP 404", "no answer within 2s", …
  void start(const MetricsEndpoint& endpoint, Duration timeout, OnDone on_done);

 private:
  void on_event(int error);
  void read();
  void take(std::string_view bytes);
  bool take_head();
  void take_body();
  void finish(Result<std::string> result);
  void finish_later(Error error);

  Loop& loop_;
  Fd socket_;
  std::optional<Poll> poll_;
  Timer timer_;
  std::string request_;
  bool is_connected_ = false;
  bool has_head_ = false;
  bool is_complete_ = false;
  std::string input_;
  std::string body_;
  std::string problem_;
  http1::ParseProgress progress_;
  http1::Framing framing_;
  http1::ChunkedDecoder chunks_;
  OnDone on_done_;
};

}  // namespace pillion::supervisor::host
