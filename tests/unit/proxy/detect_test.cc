// Telling HTTP from other bytes by their beginning.
#include "proxy/detect.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;

TEST_CASE("a whole request line is HTTP, a part of one is undecided") {
  const std::string_view line = "GET /index.html HTTP/1.1\r\n";
  for (std::size_t size = 0; size < line.size(); ++size) {
    CAPTURE(size);
    CHECK(detect_protocol(line.substr(0, size)) == Detected::Undecided);
  }
  CHECK(detect_protocol(line) == Detected::Http1);
  CHECK(detect_protocol("M-SEARCH * HTTP/1.0\r\n") == Detected::Http1);
  CHECK(detect_protocol("GET /" + std::string(17000, 'a')) == Detected::Http1);
}

TEST_CASE("what only resembles HTTP is not") {
  for (const char* first :
       {"GET key\r\n", "get /key HTTP/1.1\r\n", "EHLO host\r\n", "*1\r\n$4\r\nPING\r\n",
        "SSH-2.0-x\r\n", "\x01\x02", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "P\x01"}) {
    CAPTURE(first);
    CHECK(detect_protocol(first) == Detected::Other);
  }
}

TEST_CASE("TLS and the HTTP/2 preface are recognised") {
  CHECK(detect_protocol("\x16") == Detected::Undecided);
  CHECK(detect_protocol("\x16\x03\x01") == Detected::Tls);
  CHECK(detect_protocol("\x16\x04") == Detected::Other);
  CHECK(detect_protocol("PRI * HT") == Detected::Undecided);
  CHECK(detect_protocol("PRI * HTTP/2.0\r\n\r\nSM") == Detected::Http2);
}
