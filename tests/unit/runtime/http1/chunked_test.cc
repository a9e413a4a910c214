// The chunked coding (RFC 9112 §7.1): strict, and the same however the bytes are cut.
#include "runtime/http1/chunked.h"

#include <catch2/catch.hpp>
#include <string>

using namespace pillion::http1;

namespace {

struct Decoded {
  std::string body;
  std::string rest;
  std::string trailers;
  int error = 0;
  bool is_done = false;
};

// Feeds `bytes` in pieces of `piece` bytes.
Decoded decode(std::string_view bytes, std::size_t piece) {
  ChunkedDecoder decoder;
  Decoded out;
  while (!bytes.empty() && !out.is_done && out.error == 0) {
    std::string_view part = bytes.substr(0, piece);
    while (true) {
      const auto step = decoder.next(part);
      out.body += step.data;
      part.remove_prefix(step.consumed);
      bytes.remove_prefix(step.consumed);
      if (step.event == ChunkedDecoder::Event::Data) continue;
      if (step.event == ChunkedDecoder::Event::Done) out.is_done = true;
      if (step.event == ChunkedDecoder::Event::Failed) out.error = decoder.error().status;
      break;
    }
  }
  out.rest = bytes;
  out.trailers = decoder.trailer_section();
  return out;
}

int error_of(std::string_view bytes) { return decode(bytes, 1 << 20).error; }

}  // namespace

TEST_CASE("a chunked body decodes the same in pieces of any size") {
  const std::string bytes =
      "5\r\nhello\r\n1;name=\"v\"\r\n \r\n00A\r\n0123456789\r\n0\r\nX: y\r\nZ: 1\r\n\r\nGET /";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    const Decoded decoded = decode(bytes, piece);
    REQUIRE(decoded.is_done);
    CHECK(decoded.body == "hello 0123456789");
    CHECK(decoded.trailers == "X: y\r\nZ: 1\r\n\r\n");
    CHECK(decoded.rest == "GET /");
  }
}

TEST_CASE("an empty body ends at once") {
  const Decoded decoded = decode("0\r\n\r\n", 64);
  CHECK(decoded.is_done);
  CHECK(decoded.body.empty());
  CHECK(decoded.trailers.empty());
}

TEST_CASE("malformed chunk sizes are refused") {
  for (const char* size : {"", "0x5", "+5", "-5", " 5", "5 ", "g", "5\t", "5_", "\xef\xbc\x95",
                           "00000000000000005", "ffffffffffffffff", "8000000000000000"}) {
    CAPTURE(size);
    CHECK(error_of(std::string(size) + "\r\nhello\r\n") == 400);
  }
}

TEST_CASE("chunk lines end in CRLF and nothing else") {
  CHECK(error_of("5\nhello\r\n") == 400);
  CHECK(error_of("5\rhello\r\n") == 400);
  CHECK(error_of("5\r\nhello\n0\r\n\r\n") == 400);
  CHECK(error_of("5\r\nhelloX\r\n") == 400);
  CHECK(error_of("5\r\nhello\rX") == 400);
  CHECK(error_of("0\r\n\rX") == 400);
}

TEST_CASE("chunk extensions are dropped, and limited over the body") {
  CHECK(error_of("5;a\rb\r\nhello\r\n") == 400);
  CHECK(error_of("5;a\nb\r\nhello\r\n") == 400);
  CHECK(error_of("5;" + std::string(4097, 'x') + "\r\nhello\r\n") == 400);
  std::string many;
  for (int i = 0; i < 50; ++i) many += "1;" + std::string(100, 'x') + "\r\na\r\n";
  CHECK(error_of(many) == 400);
}

TEST_CASE("whitespace around an extension's marks is removed, and stands nowhere else") {
  for (const char* size : {"5 ;a", "5\t;a=b", "5 \t ;a", "5; a", "5;a = b", "5 ; a = \"b\" ; c"}) {
    CAPTURE(size);
    const std::string bytes = std::string(size) + "\r\nhello\r\n0 ;end\r\n\r\n";
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
      const Decoded decoded = decode(bytes, piece);
      CHECK(decoded.is_done);
      CHECK(decoded.body == "hello");
    }
  }
  for (const char* size : {"5 ", "5 a", "5 5", "5 \r;a", "5 \n", " 5;a", "5\v;a"}) {
    CAPTURE(size);
    CHECK(error_of(std::string(size) + "\r\nhello\r\n0\r\n\r\n") == 400);
  }
  CHECK(error_of("5" + std::string(4097, ' ') + ";a\r\nhello\r\n") == 400);
}

TEST_CASE("trailers have a limit") {
  CHECK(error_of("0\r\nX: " + std::string(9000, 'x') + "\r\n\r\n") == 431);
}

TEST_CASE("a decoder is reusable after reset") {
  ChunkedDecoder decoder;
  CHECK(decoder.next("zz").event == ChunkedDecoder::Event::Failed);
  CHECK(decoder.next("0\r\n\r\n").event == ChunkedDecoder::Event::Failed);
  decoder.reset();
  CHECK(decoder.next("0\r\n\r\n").event == ChunkedDecoder::Event::Done);
}

TEST_CASE("chunk sizes are written in hexadecimal") {
  char out[kChunkSizeLineMax];
  const auto written = [&](std::uint64_t size) {
    return std::string(out, write_chunk_size(out, size));
  };
  CHECK(written(1) == "1\r\n");
  CHECK(written(15) == "f\r\n");
  CHECK(written(16) == "10\r\n");
  CHECK(written(65536) == "10000\r\n");
  CHECK(written(~0ull) == "ffffffffffffffff\r\n");
}
