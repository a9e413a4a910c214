// Body framing (RFC 9112 §6.3): every way in which two recipients might disagree is an error.
#include "runtime/http1/framing.h"

#include <catch2/catch.hpp>
#include <string>

using namespace pillion::http1;

namespace {

FramingResult framing_of(std::string_view lines, std::string_view version = "HTTP/1.1") {
  const std::string bytes =
      "POST / " + std::string(version) + "\r\nHost: a\r\n" + std::string(lines) + "\r\n";
  RequestHead head;
  ParseProgress progress;
  REQUIRE(parse_request(bytes, progress, {}, head).status == ParseStatus::Done);
  return request_framing(head);
}

int error_of(std::string_view lines, std::string_view version = "HTTP/1.1") {
  return framing_of(lines, version).error.status;
}

FramingResult response_framing_of(std::string_view status_line, std::string_view lines,
                                  bool is_head_request = false) {
  const std::string bytes = std::string(status_line) + "\r\n" + std::string(lines) + "\r\n";
  ResponseHead head;
  ParseProgress progress;
  REQUIRE(parse_response(bytes, progress, {}, head).status == ParseStatus::Done);
  return response_framing(head, is_head_request);
}

}  // namespace

TEST_CASE("a request's body is its Content-Length, chunked or nothing") {
  CHECK(framing_of("").framing.kind == BodyKind::None);
  CHECK(framing_of("Content-Length: 0\r\n").framing.kind == BodyKind::Length);
  CHECK(framing_of("Content-Length: 42\r\n").framing.length == 42);
  CHECK(framing_of("Transfer-Encoding: Chunked\r\n").framing.kind == BodyKind::Chunked);
}

TEST_CASE("Transfer-Encoding with Content-Length is refused") {
  CHECK(error_of("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n") == 400);
  CHECK(error_of("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") == 400);
  CHECK(error_of("Content-Length: 3\r\nTransfer-Encoding: \r\n") == 400);
}

TEST_CASE("only one final chunked is a known coding") {
  CHECK(error_of("Transfer-Encoding: gzip, chunked\r\n") == 501);
  CHECK(error_of("Transfer-Encoding: xchunked, chunked\r\n") == 501);
  CHECK(error_of("Transfer-Encoding: chunked, gzip\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: gzip\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: identity\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: chunked, chunked\r\n") == 400);
}

TEST_CASE("oddly written Transfer-Encodings are refused") {
  CHECK(error_of("Transfer-Encoding: ,chunked\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: chunked,\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: chunked;x\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: \xc2\xa0"
                 "chunked\r\n") == 400);
  CHECK(error_of("Transfer-Encoding: \"chunked\"\r\n") == 400);
  CHECK(error_of("Transfer-Encoding:\r\n") == 400);
}

TEST_CASE("Transfer-Encoding in HTTP/1.0 is refused") {
  CHECK(error_of("Transfer-Encoding: chunked\r\n", "HTTP/1.0") == 400);
}

TEST_CASE("identical Content-Lengths are one, anything else is refused") {
  CHECK(framing_of("Content-Length: 5\r\nContent-Length: 5\r\n").framing.length == 5);
  CHECK(error_of("Content-Length: 5\r\nContent-Length: 6\r\n") == 400);
  CHECK(error_of("Content-Length: 5\r\nContent-Length: 05\r\n") == 400);
  for (const char* value :
       {"", "+5", "-5", "0x5", "5_0", "5 0", "5,5", "5;", "18446744073709551616",
        "9223372036854775808", "99999999999999999999", "5.0", "abc"}) {
    CAPTURE(value);
    CHECK(error_of("Content-Length: " + std::string(value) + "\r\n") == 400);
  }
  CHECK(framing_of("Content-Length: 9223372036854775807\r\n").is_ok());
}

TEST_CASE("a response's body ends by length, chunks or close") {
  CHECK(response_framing_of("HTTP/1.1 200 OK", "").framing.kind == BodyKind::UntilClose);
  CHECK(response_framing_of("HTTP/1.1 200 OK", "Content-Length: 7\r\n").framing.length == 7);
  CHECK(response_framing_of("HTTP/1.1 200 OK", "Transfer-Encoding: chunked\r\n").framing.kind ==
        BodyKind::Chunked);
}

TEST_CASE("some responses have no body whatever they declare") {
  CHECK(response_framing_of("HTTP/1.1 200 OK", "Content-Length: 7\r\n", true).framing.kind ==
        BodyKind::None);
  CHECK(response_framing_of("HTTP/1.1 204 x", "Content-Length: 7\r\n").framing.kind ==
        BodyKind::None);
  CHECK(response_framing_of("HTTP/1.1 304 x", "Transfer-Encoding: chunked\r\n").framing.kind ==
        BodyKind::None);
  CHECK(response_framing_of("HTTP/1.1 103 x", "").framing.kind == BodyKind::None);
}

TEST_CASE("ambiguous responses are a 502") {
  const auto error = [](std::string_view line, std::string_view lines) {
    return response_framing_of(line, lines).error.status;
  };
  CHECK(error("HTTP/1.1 200 OK", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n") == 502);
  CHECK(error("HTTP/1.1 200 OK", "Content-Length: 1\r\nContent-Length: 2\r\n") == 502);
  CHECK(error("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n") == 502);
  CHECK(error("HTTP/1.1 200 OK", "Transfer-Encoding: gzip\r\n") == 502);
}
