// Parses HTTP/1 message heads (RFC 9112 §2–§5) strictly: what a lenient peer might read in another
// way is an error, not a guess. Sans-I/O: bytes in, model or error out.
//
// The caller keeps the unparsed bytes contiguous and calls again when more have come. A call on an
// incomplete head costs one scan of the new bytes only, so a slow sender cannot make it quadratic.
#pragma once

#include <cstddef>
#include <string_view>

#include "runtime/http1/head.h"

namespace pillion::http1 {

// Why a message is refused. `status` is what to answer a client with (for a response head it is
// 502); `reason` is one static sentence without a period.
struct MessageError {
  int status = 0;
  std::string_view reason;
};

enum class ParseStatus { NeedMore, Done, Failed };

// How much of an incomplete head was looked at; reset for each message.
struct ParseProgress {
  std::size_t bytes_scanned = 0;
};

struct ParseResult {
  ParseStatus status = ParseStatus::NeedMore;
  std::size_t head_bytes = 0;  // Done: bytes of the head, empty line (and a leading one) included
  MessageError error;          // Failed
};

// `head` holds views into `bytes` when Done, and is unspecified otherwise.
ParseResult parse_request(std::string_view bytes, ParseProgress& progress, const Limits& limits,
                          RequestHead& head);
ParseResult parse_response(std::string_view bytes, ParseProgress& progress, const Limits& limits,
                           ResponseHead& head);

// Field lines up to the empty line, as in the trailer section of a chunked body (RFC 9112 §7.1.2).
// An immediate CRLF is an empty section.
ParseResult parse_field_section(std::string_view bytes, const Limits& limits, Fields& fields);

}  // namespace pillion::http1
