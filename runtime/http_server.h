// A small HTTP/1.1 server for admin, health and metrics, and for ambassadors whose bodies are
// small: requests and responses are held whole, within limits. Not the data plane.
//
// One server serves any number of listening sockets on one loop. It answers by itself: 400 for a
// request that breaks RFC 9112, 404/405 for unknown routes, 408 when a request takes longer than
// `request_timeout`, 413 and 431 beyond the limits, 503 beyond `connections_max`. A body without an
// end (an event stream) is an HttpStream.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"
#include "runtime/result.h"

namespace pillion {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// The first value of a field, names compared without case; empty when absent.
std::string_view find_header(const HttpHeaders& headers, std::string_view name);

struct HttpServerRequest {
  std::string method;
  std::string path;   // up to '?', as sent
  std::string query;  // after '?', as sent; empty when none
  HttpHeaders headers;
  std::string body;
};

// The open end of a response body that is sent piece by piece. A copyable handle: it may outlive
// its connection, and then does nothing. From the loop's thread.
class HttpStream {
 public:
  HttpStream() = default;

  // Sends, or keeps up to `stream_bytes_max` until the client reads. False when the client is gone;
  // one that lets more than that pile up, or takes nothing for `request_timeout`, is dropped.
  bool write(std::string_view bytes);
  // Completes the response.
  void end();
  bool is_open() const;

 private:
  friend class HttpServer;
  struct Ticket;
  std::shared_ptr<Ticket> ticket_;  // shared with the connection, which tears it up when it goes
};

struct HttpServerResponse {
  int status = 200;
  HttpHeaders headers;  // Content-Length, Date and Connection are added
  std::string body;
  // When set, `body` is the beginning of a stream; gets the stream before the responder returns.
  std::function<void(HttpStream)> on_stream = nullptr;

  static HttpServerResponse text(int status, std::string body);
  static HttpServerResponse json(int status, std::string body);
};

// Call it once, now or later, from the loop's thread; after the client is gone it does nothing.
using HttpResponder = std::function<void(HttpServerResponse)>;
using HttpServerHandler = std::function<void(const HttpServerRequest&, HttpResponder)>;

struct HttpServerOptions {
  std::size_t body_bytes_max = 1u << 20;
  std::size_t connections_max = 128;
  Duration request_timeout = std::chrono::seconds(10);  // from the first byte to the last
  Duration idle_timeout = std::chrono::seconds(60);
  std::size_t stream_bytes_max = 1u << 20;  // waiting for one client
  // Asked for each new connection: empty lets it in, else it is refused with 403 and this reason.
  std::function<std::string(int socket)> refuse_peer = nullptr;
  // For requests whose answer comes later: how many connections may wait for theirs, or stream,
  // this one included; beyond, it is refused with 503. 0 = this request does not wait.
  std::function<std::size_t(const HttpServerRequest&)> waiters_max = nullptr;
  // How the server's own refusals look; plain text when empty.
  std::function<HttpServerResponse(int status, std::string reason)> describe_refusal = nullptr;
};

class HttpServer {
 public:
  explicit HttpServer(Loop& loop, HttpServerOptions options = {});
  // Stops accepting and closes every connection at once.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Exact path. GET also answers HEAD. Another method on a known path is 405 with Allow.
  void route(std::string method, std::string path, HttpServerHandler handler);
  // For handlers that answer at once.
  void route(std::string method, std::string path,
             std::function<HttpServerResponse(const HttpServerRequest&)> handler);
  // Called for every path that has no route, instead of 404.
  void set_fallback(HttpServerHandler handler);

  // Serves a listening, non-blocking socket (TCP or Unix); owns it from now on. While no descriptor
  // is free it pauses for a second at a time.
  void serve(Fd listener);

  std::size_t connections() const;

  // Closes the listeners; open connections finish their request, then close. Streams are ended.
  // `on_drained` runs when the last one is gone (perhaps in the next round, never before
  // returning).
  void drain(std::function<void()> on_drained);

 private:
  friend class HttpStream;
  class Core;
  std::unique_ptr<Core> core_;
};

// Adds GET /stats/prometheus and GET /metrics, which render `registry` (it must outlive the
// server).
void add_metrics_routes(HttpServer& server, const Registry& registry);

}  // namespace pillion
