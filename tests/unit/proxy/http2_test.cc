// The parts of HTTP/2 that do no I/O: the guard against floods, and heads between HTTP/2's fields
// and HTTP/1 text.
#include <catch2/catch.hpp>
#include <string>

#include "proxy/buffers.h"
#include "proxy/http2_guard.h"
#include "proxy/http2_head.h"

using namespace pillion::proxy;

namespace {

constexpr std::size_t kBytes = 1000;
constexpr std::size_t kFields = 10;

bool add(Http2HeadReader& reader, std::string_view name, std::string_view value) {
  return reader.add(name, value, kBytes, kFields);
}

Http2HeadReader request(std::string_view method, std::string_view path) {
  Http2HeadReader reader;
  add(reader, ":method", method);
  add(reader, ":scheme", "http");
  add(reader, ":path", path);
  add(reader, ":authority", "h.test");
  return reader;
}

}  // namespace

TEST_CASE("a bucket gives its burst, then its rate") {
  TokenBucket bucket(3, 2);
  CHECK((bucket.take(1000) && bucket.take(1000) && bucket.take(1000)));
  CHECK_FALSE(bucket.take(1000));
  CHECK_FALSE(bucket.take(1400));
  CHECK(bucket.take(1900));
  CHECK((bucket.take(100'000) && bucket.take(100'000) && bucket.take(100'000)));
  CHECK_FALSE(bucket.take(100'000));
}

TEST_CASE("HEADERS on a skipped stream are an error, on one that was opened they are not") {
  Http2Guard guard;
  for (const int id : {1, 5, 5, 7, 1, 15}) CHECK(guard.on_headers_id(id));
  for (const int id : {3, 9, 13}) CHECK_FALSE(guard.on_headers_id(id));
  for (const int id : {5, 7, 15, 17}) CHECK(guard.on_headers_id(id));
}

TEST_CASE("empty DATA frames count in a row") {
  Http2Guard guard;
  for (int i = 0; i < 10; ++i) CHECK(guard.on_data_frame(0, false));
  CHECK(guard.on_data_frame(1, false));
  for (int i = 0; i < 10; ++i) CHECK(guard.on_data_frame(0, false));
  CHECK_FALSE(guard.on_data_frame(0, false));
  CHECK(guard.reason() == "too many empty DATA frames");
}

TEST_CASE("window updates are allowed by what was sent") {
  Http2Guard guard;
  for (int i = 0; i < 5; ++i) CHECK(guard.on_window_update());
  CHECK_FALSE(guard.on_window_update());
  guard.on_data_sent();
  CHECK(guard.on_window_update());
}

TEST_CASE("bytes without content have an end, with content they have none") {
  Http2Guard guard;
  for (int i = 0; i < 200; ++i) {
    guard.on_payload(50'000);
    CHECK(guard.on_bytes(65'536));
  }
  Http2Guard other;
  bool is_refused = false;
  for (int i = 0; i < 200 && !is_refused; ++i) is_refused = !other.on_bytes(65'536);
  CHECK(is_refused);
}

TEST_CASE("a request's fields become HTTP/1 text") {
  Http2HeadReader reader = request("GET", "/p?q");
  add(reader, "cookie", "a=1");
  add(reader, "x-one", "1");
  add(reader, "cookie", "b=2");
  CHECK(reader.finish_request() ==
        "GET /p?q HTTP/1.1\r\nhost: h.test\r\nx-one: 1\r\ncookie: a=1; b=2\r\n\r\n");
}

TEST_CASE("what cannot be said safely in HTTP/1 is refused") {
  for (const char* path : {"", "/a b", "/\r\n", "p", "/\x01"}) {
    CHECK(request("GET", path).finish_request().empty());
  }
  CHECK(request("G ET", "/").finish_request().empty());
  CHECK_FALSE(request("OPTIONS", "*").finish_request().empty());
  const std::pair<std::string, std::string> bad[] = {
      {"x", "a\r\nb"}, {"x", std::string(1, '\0')}, {"x y", "1"}, {"x:", "1"}, {"host", "other"}};
  for (const auto& [name, value] : bad) {
    Http2HeadReader reader = request("GET", "/");
    add(reader, name, value);
    CHECK(reader.finish_request().empty());
  }
}

TEST_CASE("a head has limits in bytes and in fields") {
  Http2HeadReader bytes = request("GET", "/");
  CHECK_FALSE(add(bytes, "x", std::string(kBytes, 'x')));
  CHECK(bytes.is_too_large());
  Http2HeadReader fields = request("GET", "/");
  for (std::size_t i = 4; i < kFields; ++i) CHECK(add(fields, "x", "1"));
  CHECK_FALSE(add(fields, "x", "1"));
}

TEST_CASE("a message of gRPC is percent-encoded") {
  CHECK(grpc_message_of("100 % na\xc3\xafve\n") == "100 %25 na%C3%AFve%0A");
  CHECK(grpc_status_of(503) == 14);
  CHECK(grpc_status_of(413) == 8);
}

TEST_CASE("a queue that is never empty does not grow with what passed through it") {
  BufferPool pool;
  ByteQueue queue;
  const std::string piece(16'384, 'x');
  queue.append(pool, piece);
  for (int i = 0; i < 10'000; ++i) {
    queue.append(pool, piece);
    queue.consume(pool, piece.size());
  }
  CHECK(queue.size() == piece.size());
  CHECK(queue.view() == piece);
  CHECK(queue.capacity() < 1 << 20);
  queue.release(pool);
}
