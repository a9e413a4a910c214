// Heads between HTTP/2's fields and the parsed model of runtime/http1, which is what the rest of
// the proxy knows. Towards the model a head is written as HTTP/1 text and parsed strictly: what
// cannot be said safely in HTTP/1 is refused here (RFC 9113 §8.2, §8.3, §10.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/buffers.h"
#include "runtime/http1/head.h"

namespace pillion::proxy {

// Gathers the fields of one head, or of one trailer section, as they are decoded.
class Http2HeadReader {
 public:
  // False once the limits are passed; the field is dropped then.
  bool add(std::string_view name, std::string_view value, std::size_t bytes_max,
           std::size_t fields_max);
  // "METHOD path HTTP/1.1", host, fields, empty line. Empty when a part is missing or malformed.
  // WebSocket by extended CONNECT is written as the upgrade of HTTP/1, with `websocket_key`.
  std::string_view finish_request(std::string_view websocket_key = {});
  // "HTTP/1.1 status ", fields, empty line.
  std::string_view finish_response();
  // What the parser makes of that text, made without it; false for heads that are rare or wrong,
  // where only the text and the parser tell. The model is valid until the next head.
  bool build_request(http1::RequestHead& head);
  bool build_response(http1::ResponseHead& head);
  // Field lines and an empty line.
  std::string_view finish_trailers();
  void clear();

  bool is_too_large() const { return is_too_large_; }
  bool is_empty() const { return count_ == 0; }
  bool is_response() const { return !is_bad_ && status_.size() == 3; }
  bool is_informational() const { return status_.size() == 3 && status_.front() == '1'; }
  bool is_connect() const { return method_ == "CONNECT"; }
  // Extended CONNECT (RFC 8441): "websocket"; empty for other requests.
  const std::string& protocol() const { return protocol_; }
  std::size_t bytes() const { return bytes_; }

 private:
  bool add_pseudo(std::string_view name, std::string_view value);
  void add_field(std::string_view name, std::string_view value);
  bool build_fields(http1::Fields& fields);

  std::string method_, path_, authority_, status_, protocol_;
  std::string cookies_;  // crumbs joined, RFC 9113 §8.2.3
  GrowingBytes fields_;
  std::vector<http1::Field> places_;  // in fields_
  std::string text_;
  std::size_t bytes_ = 0;
  std::size_t count_ = 0;
  bool is_too_large_ = false;
  bool is_bad_ = false;
  bool is_rare_ = false;  // see build_request
};

// Fields to be sent, in one piece of memory that is reused.
class Http2Fields {
 public:
  struct Span {
    std::uint32_t name = 0, name_size = 0, value_size = 0;
  };

  void add(std::string_view name, std::string_view value);  // `name` in any case
  // The same with a name that is in lower case.
  void add_lower(std::string_view name, std::string_view value);
  void add_number(std::string_view name, std::uint64_t value);  // the same
  // Those that are not removed; Host is left out where `:authority` says it.
  void add_all(const http1::Fields& fields, bool keeps_host);
  void clear() {
    bytes_.clear();
    spans_.clear();
  }
  std::size_t size() const { return spans_.size(); }
  std::string_view name(std::size_t i) const {
    return bytes_.view().substr(spans_[i].name, spans_[i].name_size);
  }
  std::string_view value(std::size_t i) const {
    return bytes_.view().substr(spans_[i].name + spans_[i].name_size, spans_[i].value_size);
  }

 private:
  GrowingBytes bytes_;
  std::vector<Span> spans_;
};

// grpc-status for an HTTP status (gRPC, doc/http-grpc-status-mapping.md).
int grpc_status_of(int http_status);
// Percent-encoded as grpc-message wants it (gRPC over HTTP/2, Responses).
std::string grpc_message_of(std::string_view text);

}  // namespace pillion::proxy
