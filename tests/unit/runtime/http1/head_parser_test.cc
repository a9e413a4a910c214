// The strictness table of HTTP/1 heads, row by row (RFC 9112 §2–§5).
#include "runtime/http1/head_parser.h"

#include <catch2/catch.hpp>
#include <string>

using namespace pillion::http1;

namespace {

struct Parsed {
  ParseResult result;
  RequestHead head;
};

Parsed parse(std::string_view bytes, Limits limits = {}) {
  Parsed parsed;
  ParseProgress progress;
  parsed.result = parse_request(bytes, progress, limits, parsed.head);
  return parsed;
}

int status_of(std::string_view bytes) {
  const Parsed parsed = parse(bytes);
  return parsed.result.status == ParseStatus::Failed ? parsed.result.error.status
         : parsed.result.status == ParseStatus::Done ? 200
                                                     : 0;
}

std::string with_field(std::string_view line) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(line) + "\r\n\r\n";
}

}  // namespace

TEST_CASE("a request head becomes views in order and letter case") {
  const std::string bytes =
      "POST /orders?id=1 HTTP/1.1\r\nHost: shop.example:8080\r\nX-CuStom:  two words \t\r\n"
      "Empty:\r\nContent-Length: 3\r\n\r\nabc";
  const Parsed parsed = parse(bytes);
  REQUIRE(parsed.result.status == ParseStatus::Done);
  CHECK(parsed.result.head_bytes == bytes.size() - 3);
  CHECK(parsed.head.method == "POST");
  CHECK(parsed.head.path == "/orders?id=1");
  CHECK(parsed.head.authority == "shop.example:8080");
  CHECK(parsed.head.version == Version::Http11);
  const Fields& fields = parsed.head.fields;
  REQUIRE(fields.all().size() == 4);
  CHECK(fields.name(fields.all()[1]) == "X-CuStom");
  CHECK(fields.value(fields.all()[1]) == "two words");
  CHECK_FALSE(fields.all()[1].is_canonical);
  CHECK(fields.value(fields.all()[2]).empty());
  CHECK(fields.all()[3].id == FieldId::ContentLength);
  CHECK(fields.find("x-custom") == &fields.all()[1]);
  CHECK(fields.find("absent") == nullptr);
}

TEST_CASE("a head that comes byte by byte parses as the whole does") {
  const std::string bytes = "\r\nGET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
  RequestHead head;
  ParseProgress progress;
  for (std::size_t size = 1; size < bytes.size(); ++size) {
    const auto result = parse_request({bytes.data(), size}, progress, {}, head);
    REQUIRE(result.status == ParseStatus::NeedMore);
  }
  const auto result = parse_request(bytes, progress, {}, head);
  REQUIRE(result.status == ParseStatus::Done);
  CHECK(result.head_bytes == bytes.size());
  CHECK(head.path == "/a");
}

TEST_CASE("views follow the bytes when they move") {
  const std::string bytes = "GET http://h HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";
  Parsed parsed = parse(bytes);
  REQUIRE(parsed.result.status == ParseStatus::Done);
  const std::string copy = bytes;
  parsed.head.rebase(copy.data());
  CHECK(parsed.head.method.data() == copy.data());
  CHECK(parsed.head.path == "/");
  CHECK(parsed.head.authority.data() == copy.data() + 11);
  CHECK(parsed.head.fields.find(FieldId::Host) == "h");
}

TEST_CASE("malformed request lines are refused with 400") {
  const auto line =
      GENERATE(as<std::string>{}, "GET / HTTP/1.1 ", "GET  / HTTP/1.1", "GET / http/1.1",
               "GET / HTTP/1.", "GET / HTTP/11", "GET /", " GET / HTTP/1.1", "GET\t/ HTTP/1.1",
               "G(T / HTTP/1.1", "GET /a b HTTP/1.1", "GET /#f HTTP/1.1", "GET a HTTP/1.1",
               "GET * HTTP/1.1", "GET https://a/ HTTP/1.1", "GET ftp://a/ HTTP/1.1",
               "GET http:///x HTTP/1.1", "GET http://u@h/ HTTP/1.1", "GET http://h?q HTTP/1.1",
               "CONNECT /x HTTP/1.1", "CONNECT host HTTP/1.1", "GET /\xc3\xa4 HTTP/1.1");
  CHECK(status_of(line + "\r\nHost: a\r\n\r\n") == 400);
}

TEST_CASE("versions other than 1.x are refused with 505") {
  CHECK(status_of("PRI * HTTP/2.0\r\n\r\n") == 505);
  CHECK(status_of("GET / HTTP/3.0\r\nHost: a\r\n\r\n") == 505);
  CHECK(status_of("GET / HTTP/1.7\r\nHost: a\r\n\r\n") == 200);
}

TEST_CASE("the four target forms are told apart") {
  const Parsed absolute = parse("GET HTTP://b:81/p?q HTTP/1.1\r\nHost: a\r\n\r\n");
  REQUIRE(absolute.result.status == ParseStatus::Done);
  CHECK(absolute.head.form == TargetForm::Absolute);
  CHECK(absolute.head.authority == "b:81");
  CHECK(absolute.head.path == "/p?q");
  const Parsed connect = parse("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
  REQUIRE(connect.result.status == ParseStatus::Done);
  CHECK(connect.head.form == TargetForm::Authority);
  const Parsed asterisk = parse("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
  REQUIRE(asterisk.result.status == ParseStatus::Done);
  CHECK(asterisk.head.form == TargetForm::Asterisk);
}

TEST_CASE("HTTP/1.1 needs exactly one valid Host") {
  CHECK(status_of("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\nHost:\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.0\r\n\r\n") == 200);
  CHECK(status_of("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n") == 400);
  for (const char* host :
       {"a b", "a/b", "a@b", "a,b", "a:b", "a:99999", "[::1", "[a]", "[]", ":80", "a\\b", "a?b"}) {
    CAPTURE(host);
    CHECK(status_of("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n") == 400);
  }
  for (const char* host : {"a", "a:80", "a:", "[::1]", "[::1]:80", "127.0.0.1:1", "a_b.c-d"}) {
    CAPTURE(host);
    CHECK(status_of("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n") == 200);
  }
}

TEST_CASE("control bytes in a field are refused") {
  CHECK(status_of(with_field("X: a\rb")) == 400);
  CHECK(status_of(with_field(std::string("X: a\0b", 6))) == 400);
  CHECK(status_of(with_field("X: a\x01")) == 400);
  CHECK(status_of(with_field("X: a\x7f")) == 400);
  CHECK(status_of(with_field("X: a\tb")) == 200);
  CHECK(status_of(with_field("X: \xc3\xa4 and more than sixteen bytes")) == 200);
  CHECK(status_of(with_field("X: more than sixteen bytes and then \x02 at last")) == 400);
}

TEST_CASE("a bare line feed never ends a line") {
  CHECK(status_of("GET / HTTP/1.1\nHost: a\n\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/1.1\r\nHost: a\r\n\n") == 400);
}

TEST_CASE("malformed field lines are refused") {
  CHECK(status_of(with_field("X : a")) == 400);
  CHECK(status_of(with_field("X\t: a")) == 400);
  CHECK(status_of(with_field(": a")) == 400);
  CHECK(status_of(with_field("no colon")) == 400);
  CHECK(status_of(with_field("nocolon")) == 400);
  CHECK(status_of(with_field("X(: a")) == 400);
  CHECK(status_of(with_field("X\xc2\xa0: a")) == 400);
}

TEST_CASE("folded lines and leading whitespace are refused") {
  CHECK(status_of(with_field("X: a\r\n b")) == 400);
  CHECK(status_of(with_field("X: a\r\n\tb")) == 400);
  CHECK(status_of("GET / HTTP/1.1\r\n Host: a\r\n\r\n") == 400);
}

TEST_CASE("one empty line before the request is forgiven, two are not") {
  CHECK(status_of("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 200);
  CHECK(status_of("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(status_of("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
}

TEST_CASE("heads beyond the limits are refused with 431 and 414") {
  std::string fields;
  for (int i = 0; i < 99; ++i) fields += "X: y\r\n";
  CHECK(status_of("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n") == 200);
  CHECK(status_of("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "X: y\r\n\r\n") == 431);
  CHECK(status_of(with_field("X: " + std::string(60 * 1024, 'a'))) == 431);
  CHECK(status_of(with_field("X: " + std::string(50 * 1024, 'a'))) == 200);
  CHECK(status_of("GET /" + std::string(61 * 1024, 'a')) == 414);
  CHECK(status_of("GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(61 * 1024, 'a')) == 431);
  CHECK(status_of(std::string(40, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n") == 501);
}

TEST_CASE("response heads parse, and their faults are 502") {
  ResponseHead head;
  ParseProgress progress;
  const std::string bytes = "HTTP/1.1 200 Very OK\r\nServer: x\r\n\r\nbody";
  const auto result = parse_response(bytes, progress, {}, head);
  REQUIRE(result.status == ParseStatus::Done);
  CHECK(head.status == 200);
  CHECK(head.reason == "Very OK");
  CHECK(result.head_bytes == bytes.size() - 4);

  const auto status = [](std::string_view text) {
    ResponseHead one;
    ParseProgress none;
    const auto parsed = parse_response(text, none, {}, one);
    return parsed.status == ParseStatus::Failed ? parsed.error.status
           : parsed.status == ParseStatus::Done ? one.status
                                                : 0;
  };
  CHECK(status("HTTP/1.1 204\r\n\r\n") == 204);
  CHECK(status("HTTP/1.1 404 \r\n\r\n") == 404);
  CHECK(status("HTTP/1.0 500 x\r\n\r\n") == 500);
  CHECK(status("HTTP/1.1 20\r\n\r\n") == 502);
  CHECK(status("HTTP/1.1 2000 x\r\n\r\n") == 502);
  CHECK(status("HTTP/1.1 099 x\r\n\r\n") == 502);
  CHECK(status("HTTP/2.0 200 x\r\n\r\n") == 502);
  CHECK(status("ICY 200 OK\r\n\r\n") == 502);
  CHECK(status("HTTP/1.1 200 OK\nX: y\n\n") == 502);
  CHECK(status("HTTP/1.1 200 OK\r\nX : y\r\n\r\n") == 502);
  CHECK(status("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n") == 502);
  CHECK(status("HTTP/1.1 200 O") == 0);
}

TEST_CASE("persistence follows Connection and the version") {
  const auto keeps = [](std::string_view line, Version version) {
    const std::string bytes = with_field(line);  // the head's views point into it
    return wants_keep_alive(parse(bytes).head.fields, version);
  };
  CHECK(keeps("X: y", Version::Http11));
  CHECK_FALSE(keeps("X: y", Version::Http10));
  CHECK_FALSE(keeps("Connection: x, Close", Version::Http11));
  CHECK(keeps("Connection: Keep-Alive", Version::Http10));
}

TEST_CASE("a trailer section parses to fields") {
  Fields fields;
  const auto result = parse_field_section("Grpc-Status: 0\r\nX: y\r\n\r\n", {}, fields);
  REQUIRE(result.status == ParseStatus::Done);
  CHECK(fields.all().size() == 2);
  CHECK(parse_field_section("\r\n", {}, fields).status == ParseStatus::Done);
  CHECK(parse_field_section("X y\r\n\r\n", {}, fields).status == ParseStatus::Failed);
}
