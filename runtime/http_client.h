// An asynchronous HTTP/1.1 client: libcurl's multi interface driven by our loop's polls and timers.
//
// One HttpClient per loop holds the connection pool. Each send() returns the owner of its exchange;
// destroying the owner cancels. It never reads proxy variables, .netrc or cookies from the
// environment, never follows a redirect unless asked, never speaks anything but http and https, and
// never writes a URL's query, a header or a body into an error or a log.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/loop.h"
#include "runtime/result.h"

namespace pillion {

class HttpClient {
 public:
  struct Header {
    std::string name;
    std::string value;
  };
  using Headers = std::vector<Header>;

  struct Options {
    std::size_t connections_per_host_max = 10;  // more exchanges wait for a free connection
    std::size_t connections_max = 100;
    std::string user_agent = "pillion";
  };

  // Empty paths mean the system's trust store and no client certificate. All are PEM files, read
  // anew for new connections (a CA file at the latest a minute after it changed).
  struct Tls {
    std::string ca_file;
    std::string ca_directory;
    std::string certificate_file;
    std::string key_file;
    std::string server_name;  // verified (and sent as SNI) instead of the URL's host
    bool is_peer_verified = true;
  };

  struct Request {
    std::string method = "GET";
    std::string url;  // http:// or https://
    Headers headers;
    std::string body;  // sent with a Content-Length when not empty, and always for POST and PUT
    std::chrono::milliseconds connect_timeout{5000};
    std::chrono::milliseconds total_timeout{30000};  // waiting for a free connection included
    std::size_t response_bytes_max = 16u << 20;
    Tls tls;
    std::string unix_socket_path;  // connect there; the URL still gives Host and path
    unsigned redirects_max = 0;    // 0: a redirect is an ordinary response
    // When set, gets the body in pieces as it arrives and Response::body stays empty; false aborts
    // the exchange with ECANCELED. May destroy the Exchange.
    std::function<bool(std::string_view piece)> on_body;
  };

  struct Response {
    int status = 0;
    Headers headers;  // of the final response, in order, names as received
    std::string body;
    std::chrono::microseconds total_time{0};

    // The first header of that name, ignoring case; nullptr when there is none.
    const std::string* find_header(std::string_view name) const;
  };

  // Any status is a Response. An Error is a failure to get one; its errno_value tells the kind:
  // ECONNREFUSED and other errnos of connect(), ETIMEDOUT, EHOSTUNREACH (name not resolved),
  // EMSGSIZE (response larger than allowed), EPROTO (TLS or HTTP broken), ECONNRESET (peer closed
  // early), ECANCELED, EINVAL (request unusable).
  using OnDone = std::function<void(Result<Response>)>;

  // Owns one exchange. Destroying it cancels: neither callback runs afterwards. May outlive the
  // client.
  class Exchange {
   public:
    Exchange() = default;
    ~Exchange() { cancel(); }
    Exchange(Exchange&&) noexcept = default;
    Exchange& operator=(Exchange&& other) noexcept;
    bool is_active() const { return !transfer_.expired(); }
    void cancel();

   private:
    friend class HttpClient;
    struct Transfer;
    std::weak_ptr<Transfer> transfer_;  // weak: the client's pool is the one owner
  };

  explicit HttpClient(Loop& loop) : HttpClient(loop, Options()) {}
  HttpClient(Loop& loop, Options options);
  // Cancels what is in flight.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // `on_done` runs exactly once unless cancelled, never before this returns, and may destroy the
  // Exchange or the client.
  [[nodiscard]] Exchange send(Request request, OnDone on_done);

  // Exchanges sent and not yet answered, those waiting for a connection included.
  std::size_t in_flight() const;

 private:
  struct Core;
  std::shared_ptr<Core> core_;  // shared with deferred deliveries, which may come after us
};

}  // namespace pillion
