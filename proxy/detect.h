// What the first bytes of a client say about its protocol. Pure; never a guess by time.
#pragma once

#include <cstdint>
#include <string_view>

namespace pillion::proxy {

enum class Detected : std::uint8_t {
  Undecided,  // could still become HTTP/1; more bytes are needed
  Http1,      // a whole request line that ends in HTTP/1.x, or one beyond any reason
  Http2,      // the connection preface, RFC 9113 §3.4
  Tls,        // a TLS handshake record
  Other,
};

Detected detect_protocol(std::string_view first);

}  // namespace pillion::proxy
