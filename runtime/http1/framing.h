// How long a message's body is (RFC 9112 §6.3), decided from its head alone. Anything on which two
// recipients could disagree is an error: that disagreement is request smuggling.
#pragma once

#include <cstdint>

#include "runtime/http1/head.h"
#include "runtime/http1/head_parser.h"

namespace pillion::http1 {

enum class BodyKind : std::uint8_t {
  None,
  Length,  // Content-Length bytes
  Chunked,
  UntilClose,  // responses only
};

struct Framing {
  BodyKind kind = BodyKind::None;
  std::uint64_t length = 0;  // Length only; a Content-Length of zero is Length 0
};

struct FramingResult {
  Framing framing;
  MessageError error;  // status 0 when there is none

  bool is_ok() const { return error.status == 0; }
};

// Errors are 400 or 501; the connection must be closed after one.
FramingResult request_framing(const RequestHead& head);

// `is_head_request`: the response answers a HEAD. Its framing (and that of a 204, 304 or 1xx) is
// None whatever it declares. Errors have status 502; the upstream connection must be closed.
FramingResult response_framing(const ResponseHead& head, bool is_head_request);

}  // namespace pillion::http1
