// The control API as a table of routes: method, path pattern, handler. Parts of the host add their
// routes; the server (control_server.h) looks requests up here. docs/openapi.yaml describes every
// route, and a test compares the two.
//
//   api.add("POST", "/v1/children/{child}/retry", [&](const ApiRequest& request, Responder reply) {
//     const auto child = find(request.parameter("child"));
//     if (!child) return reply.error(404, "there is no such child");
//     supervisor.retry(*child);
//     reply.json(202, R"({"accepted":true})");
//   });
//
// Everything runs on the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/http_server.h"

namespace pillion::supervisor::control {

using Parameters = std::vector<std::pair<std::string, std::string>>;

struct ApiRequest {
  std::string method;
  std::string path;
  std::string body;             // at most kBodyBytesMax
  Parameters path_parameters;   // by the names in the pattern's braces, percent-decoded
  Parameters query_parameters;  // percent-decoded; the first one of a name counts

  // Of the path; empty when the pattern has no such name.
  std::string_view parameter(std::string_view name) const;
  std::optional<std::string> query(std::string_view name) const;
  // "?wait" and "?wait=1" are set; "?wait=0" and "?wait=false" are not.
  bool has_flag(std::string_view name) const;
};

// The one answer to a request. A copyable handle; answer at once or later, once: what comes after
// the first answer, or after the client has gone, is dropped. When the last copy goes without an
// answer, the client gets a 500.
class Responder {
 public:
  explicit Responder(HttpResponder respond);

  void json(int status, std::string body) const;
  // {"error":"…"}; `message` is a sentence for a person that names the remedy.
  void error(int status, std::string_view message) const;
  void text(int status, std::string content_type, std::string body) const;
  // A body without an end, application/x-ndjson: `first` now, lines later over the stream.
  void stream(std::string first, std::function<void(HttpStream)> on_open) const;

 private:
  struct Pending;
  void send(HttpServerResponse response) const;
  std::shared_ptr<Pending> pending_;  // shared by the copies of this handle
};

using ApiHandler = std::function<void(const ApiRequest&, Responder)>;

class Api {
 public:
  // A segment of `pattern` in braces matches any one segment. A method and pattern that were added
  // before are a mistake of ours.
  void add(std::string method, std::string pattern, ApiHandler handler);

  // Calls the handler, or answers 404 or 405.
  void handle(const HttpServerRequest& request, HttpResponder respond) const;

  // "GET /v1/status", sorted.
  std::vector<std::string> routes() const;

 private:
  struct Route {
    std::string method;
    std::string pattern;
    ApiHandler handler;
  };
  std::vector<Route> routes_;
};

// The longest request body.
inline constexpr std::size_t kBodyBytesMax = 1u << 20;

// {"error":"…"}
std::string error_json(std::string_view message);
// The message of such a document; empty for any other.
std::optional<std::string> parse_error(std::string_view json);

// "a%20b+c" → "a b c" (application/x-www-form-urlencoded); a broken escape stays as it is.
std::string decode_query_text(std::string_view text);
Parameters parse_query(std::string_view query);

}  // namespace pillion::supervisor::control
