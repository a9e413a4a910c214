// What a TLS client says before anything is secret: whom it wants to talk to (SNI, RFC 6066 §3) and
// which protocols it offers (ALPN, RFC 7301). Sans-I/O, and nothing of the hello is changed: it is
// read to choose an upstream, which then gets every byte of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pillion::proxy {

struct ClientHello {
  enum class Status : std::uint8_t {
    Incomplete,  // more bytes are needed
    Complete,
    NotTls,     // not a handshake record of TLS
    Malformed,  // lengths that do not fit each other, a name twice, a name that is none
    TooLarge,   // a hello above 16 KiB, or in more than 64 records
  };
  Status status = Status::Incomplete;
  std::string server_name;  // lower case, without a final dot; "" when there is none
  std::vector<std::string> alpn;
};

// `bytes` are all that came so far. A hello may be split over several records (RFC 8446 §5.1).
ClientHello parse_client_hello(std::string_view bytes);

// A fatal alert record, to be sent before closing: 50 decode_error, 112 unrecognized_name.
inline constexpr std::uint8_t kAlertDecodeError = 50;
inline constexpr std::uint8_t kAlertUnrecognizedName = 112;
std::string_view fatal_alert(std::uint8_t description);

}  // namespace pillion::proxy
