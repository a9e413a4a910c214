// The parts of HTTP/2 that do no I/O: the guard against floods, and heads between HTTP/2's fields
// and HTTP/1 text.
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "proxy/buffers.h"
#include "proxy/http2_guard.h"
#include "proxy/http2_head.h"
#include "runtime/http1/head_parser.h"

using namespace pillion;
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

void check_same(const http1::Fields& built, const http1::Fields& parsed) {
  REQUIRE(built.all().size() == parsed.all().size());
  for (std::size_t i = 0; i < built.all().size(); ++i) {
    const http1::Field& one = built.all()[i];
    const http1::Field& other = parsed.all()[i];
    CHECK(built.name(one) == parsed.name(other));
    CHECK(built.value(one) == parsed.value(other));
    CHECK(one.id == other.id);
    CHECK((one.is_canonical == other.is_canonical && one.is_removed == other.is_removed));
    CHECK(built.has(one.id));
  }
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

TEST_CASE("a model made of a request's fields is the one that the parser makes of their text") {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  const std::pair<Pairs, bool> heads[] = {
      {{}, true},
      {{{"x-one", "1"}, {"content-length", "5"}, {"via", "2 a"}, {"x-empty", ""}}, true},
      {{{"te", "trailers"}, {"x-request-id", "id"}, {"traceparent", "00-1"}, {"date", "a, b"}},
       true},
      {{{"x-padded", " 1"}}, false},  // the parser trims
      {{{"cookie", "a=1"}, {"cookie", "b=2"}}, false}};
  for (const auto& [fields, is_built] : heads) {
    Http2HeadReader reader = request("POST", "/p?q");
    for (const auto& [name, value] : fields) add(reader, name, value);
    http1::RequestHead parsed, built;
    http1::ParseProgress progress;
    const std::string text(reader.finish_request());
    REQUIRE(http1::parse_request(text, progress, {}, parsed).status == http1::ParseStatus::Done);
    REQUIRE(reader.build_request(built) == is_built);
    if (!is_built) continue;
    CHECK(built.method == parsed.method);
    CHECK((built.path == parsed.path && built.target == parsed.target));
    CHECK(built.authority == parsed.authority);
    CHECK((built.version == parsed.version && built.form == parsed.form));
    check_same(built.fields, parsed.fields);
  }
}

TEST_CASE("a model made of a response's fields is the one that the parser makes of their text") {
  for (const char* status : {"200", "103", "999"}) {
    Http2HeadReader reader;
    add(reader, ":status", status);
    add(reader, "server", "s");
    add(reader, "content-type", "application/grpc");
    http1::ResponseHead parsed, built;
    http1::ParseProgress progress;
    const std::string text(reader.finish_response());
    REQUIRE(http1::parse_response(text, progress, {}, parsed).status == http1::ParseStatus::Done);
    REQUIRE(reader.build_response(built));
    CHECK((built.status == parsed.status && built.reason == parsed.reason));
    check_same(built.fields, parsed.fields);
  }
}

TEST_CASE("no model is made of a head that must be refused") {
  const auto is_built = [](std::string_view method, std::string_view path) {
    http1::RequestHead head;
    return request(method, path).build_request(head);
  };
  CHECK(is_built("GET", "/"));
  for (const char* path : {"", "/a b", "p", "*", "/\x01", "/#f"})
    CHECK_FALSE(is_built("GET", path));
  for (const char* method : {"", "G ET", "CONNECT"}) CHECK_FALSE(is_built(method, "/"));
  CHECK_FALSE(is_built(std::string(33, 'M'), "/"));
  for (const char* status : {"", "20", "099", "2x0", "2000"}) {
    Http2HeadReader reader;
    add(reader, ":status", status);
    http1::ResponseHead head;
    CHECK_FALSE(reader.build_response(head));
  }
  Http2HeadReader bare;
  add(bare, ":method", "GET");
  add(bare, ":path", "/");
  http1::RequestHead head;
  CHECK_FALSE(bare.build_request(head));  // nobody says for whom
}

TEST_CASE("names of fields are sent in lower case") {
  Http2Fields fields;
  fields.add("X-Mixed-Case@[Z`{", "Value");
  fields.add("A", "b");
  CHECK((fields.name(0) == "x-mixed-case@[z`{" && fields.value(0) == "Value"));
  CHECK((fields.name(1) == "a" && fields.value(1) == "b"));
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
