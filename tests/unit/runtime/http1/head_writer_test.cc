// Hop-by-hop rules (RFC 9110 §7.6.1) and the serialiser.
#include "runtime/http1/head_writer.h"

#include <catch2/catch.hpp>
#include <string>

#include "runtime/http1/head_parser.h"
#include "runtime/http1/hop_by_hop.h"

using namespace pillion::http1;

namespace {

std::string forwarded(std::string_view lines, bool keeps_upgrade = false,
                      std::size_t* ignored = nullptr) {
  const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(lines) + "\r\n";
  RequestHead head;
  ParseProgress progress;
  REQUIRE(parse_request(bytes, progress, {}, head).status == ParseStatus::Done);
  const std::size_t count = remove_hop_by_hop(head.fields, keeps_upgrade);
  if (ignored != nullptr) *ignored = count;
  std::string out;
  HeadWriter writer(out);
  writer.fields(head.fields);
  return out;
}

}  // namespace

TEST_CASE("fields are written in order with their letter case, normalised in form") {
  CHECK(forwarded("aB: 1\r\nC:2\r\nD:   3  \r\nE:\r\nF: \r\nG: 7\r\n") ==
        "Host: a\r\naB: 1\r\nC: 2\r\nD: 3\r\nE: \r\nF: \r\nG: 7\r\n");
}

TEST_CASE("connection fields and what they nominate stay on the hop") {
  CHECK(forwarded("Connection: keep-alive, X-Drop\r\nKeep-Alive: timeout=5\r\nx-drop: 1\r\n"
                  "X-Keep: 2\r\nTE: trailers\r\nProxy-Connection: close\r\nUpgrade: h2c\r\n") ==
        "Host: a\r\nX-Keep: 2\r\n");
  CHECK(forwarded("Content-Length: 3\r\nX: y\r\n") == "Host: a\r\nX: y\r\n");
  CHECK(forwarded("Connection: upgrade\r\nUpgrade: websocket\r\n", true) ==
        "Host: a\r\nUpgrade: websocket\r\n");
}

TEST_CASE("protected fields cannot be nominated away") {
  std::size_t ignored = 0;
  CHECK(forwarded("Connection: Host, Authorization, X-Forwarded-For, traceparent, x-request-id\r\n"
                  "Authorization: b\r\nX-Forwarded-For: 1\r\n",
                  false, &ignored) == "Host: a\r\nAuthorization: b\r\nX-Forwarded-For: 1\r\n");
  CHECK(ignored == 5);
}

TEST_CASE("forbidden trailers are dropped, others travel") {
  Fields trailers;
  const std::string bytes =
      "Grpc-Status: 0\r\nContent-Length: 5\r\nHost: b\r\nAuthorization: x\r\nSet-Cookie: a\r\n"
      "Checksum: 9\r\n\r\n";
  REQUIRE(parse_field_section(bytes, {}, trailers).status == ParseStatus::Done);
  remove_forbidden_trailers(trailers);
  std::string out;
  HeadWriter(out).fields(trailers);
  CHECK(out == "Grpc-Status: 0\r\nChecksum: 9\r\n");
}

TEST_CASE("start lines and framing are written anew") {
  std::string out;
  HeadWriter writer(out);
  writer.request_line("GET", "/x?y");
  writer.content_length(120);
  writer.end();
  CHECK(out == "GET /x?y HTTP/1.1\r\nContent-Length: 120\r\n\r\n");
  out.clear();
  writer.status_line(404, "Gone Fishing");
  writer.chunked();
  CHECK(out == "HTTP/1.1 404 Gone Fishing\r\nTransfer-Encoding: chunked\r\n");
}
