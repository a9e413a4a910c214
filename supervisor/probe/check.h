// What one check of a service found, and the two that need a library: HTTP(S) with redirects, and
// gRPC's health protocol. Each runs to its end, within its timeout, on the calling thread.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace pillion::supervisor::probe {

enum class Verdict {
  Success,
  Failure,  // it answered and is not well, or does not answer
  Error,    // the check itself could not be made
};

struct CheckResult {
  Verdict verdict = Verdict::Error;
  std::string text;  // one line: "HTTP 200", "SERVING", or why not
};

struct HttpCheck {
  std::string url;                   // http:// or https://; certificates are not verified
  std::vector<std::string> headers;  // "Name: value"; a Host header replaces the url's
  std::chrono::milliseconds timeout{1000};
};

// As the kubelet: GET; 200–399 succeed; a redirect to the same host name is followed, up to ten
// times; one to another host succeeds as it is, with a warning in the text. At most 10 KiB of a
// body are read. No proxy, no cookies, HTTP/1.1.
CheckResult check_http(const HttpCheck& check);

struct GrpcCheck {
  std::string address;  // "127.0.0.1:9000", "[::1]:9000"
  std::string service;  // empty = the server as a whole
  std::chrono::milliseconds timeout{1000};
};

// grpc.health.v1.Health/Check in plain text; SERVING succeeds.
CheckResult check_grpc(const GrpcCheck& check);

}  // namespace pillion::supervisor::probe
