// Records of TLS 1.3: the ones that RFC 8448 shows, and two ends that talk to each other.
#include "proxy/tls_records.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "runtime/http1/syntax.h"

using namespace pillion;
using namespace pillion::proxy;
using Event = TlsRecords::Event;

namespace {

constexpr std::uint8_t kAlert = 21, kHandshake = 22, kData = 23;

std::string from_hex(std::string_view digits) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes += static_cast<char>(http1::hex_digit(digits[i]) << 4 | http1::hex_digit(digits[i + 1]));
  }
  return bytes;
}

TlsSecret secret_of(std::string_view bytes) {
  TlsSecret secret;
  secret.size = bytes.size();
  std::copy(bytes.begin(), bytes.end(), secret.bytes.begin());
  return secret;
}

// Both ends of one connection.
struct Ends {
  explicit Ends(std::uint16_t suite = 0x1301) {
    const std::size_t size = suite == 0x1302 ? 48 : 32;
    const TlsSecret one = secret_of(std::string(size, 'a')),
                    other = secret_of(std::string(size, 'b'));
    near = TlsRecords::create(suite, one, other, 0);
    far = TlsRecords::create(suite, other, one, 0);
  }
  std::unique_ptr<TlsRecords> near, far;
};

std::string sealed(TlsRecords& from, std::string_view content, std::uint8_t type = kData) {
  std::string record(content.size() + TlsRecords::kOverheadBytes, '\0');
  std::copy(content.begin(), content.end(), record.begin() + TlsRecords::kHeaderBytes);
  record.resize(from.seal(record.data(), content.size(), type));
  return record;
}

Event event_of(TlsRecords& to, std::string record) {
  return to.open(record.data(), record.size()).event;
}

std::string opened(TlsRecords& to, std::string record) {
  const auto result = to.open(record.data(), record.size());
  REQUIRE(result.event == Event::Data);
  REQUIRE(result.used == record.size());
  return std::string(result.data);
}

std::string update_from(TlsRecords& from) {
  std::string record(TlsRecords::kUpdateBytes, '\0');
  record.resize(from.seal_update(record.data()));
  return record;
}

const std::string kRequestUpdate("\x18\0\0\x01\x01", 5);

}  // namespace

TEST_CASE("the records of RFC 8448's simple handshake are opened and made") {
  const auto client = from_hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
  const auto server = from_hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
  std::string content;
  for (char c = 0; c < 50; ++c) content += c;
  const auto from_client = from_hex(
      "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a2044"
      "1e"
      "2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4");
  const auto from_server = from_hex(
      "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a"
      "59"
      "a8fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d");
  // A session ticket went before the server's data.
  const auto records = TlsRecords::create(0x1301, secret_of(client), secret_of(server), 1);
  REQUIRE(records);
  CHECK(opened(*records, from_client) == content);
  CHECK(sealed(*records, content) == from_server);
}

TEST_CASE("what one end seals the other opens, with every cipher and of every size") {
  for (const std::uint16_t suite : std::vector<std::uint16_t>{0x1301, 0x1302, 0x1303}) {
    Ends ends(suite);
    REQUIRE((ends.near && ends.far));
    for (const std::size_t size : {1u, 2u, 100u, 16'383u, 16'384u}) {
      const std::string content(size, 'x');
      CHECK(opened(*ends.far, sealed(*ends.near, content)) == content);
      CHECK(opened(*ends.near, sealed(*ends.far, content)) == content);
    }
  }
  CHECK_FALSE(TlsRecords::create(0x1304, {}, {}, 0));
  CHECK_FALSE(TlsRecords::create(0x1302, secret_of(std::string(32, 'a')), {}, 0));
}

TEST_CASE("a record that is not whole waits for the rest") {
  Ends ends;
  const std::string record = sealed(*ends.near, "hello");
  for (std::size_t size = 0; size < record.size(); ++size) {
    CHECK(event_of(*ends.far, record.substr(0, size)) == Event::NeedMore);
  }
  CHECK(opened(*ends.far, record) == "hello");
}

TEST_CASE("a record that was changed, repeated, left out or not encrypted ends the connection") {
  const auto first = [](Ends& ends) { return sealed(*ends.near, "hello"); };
  for (const std::size_t place : {1u, 4u, 5u, 8u, 20u}) {
    Ends ends;
    std::string record = first(ends);
    record[place] = static_cast<char>(record[place] ^ 1);
    if (place == 4) record += "x";
    CHECK(event_of(*ends.far, record) == Event::Failed);
    CHECK(ends.far->owes_alert());
    CHECK_FALSE(ends.far->failure().empty());
  }
  Ends repeated;
  const std::string record = first(repeated);
  CHECK(opened(*repeated.far, record) == "hello");
  CHECK(event_of(*repeated.far, record) == Event::Failed);
  Ends left_out;
  first(left_out);
  CHECK(event_of(*left_out.far, first(left_out)) == Event::Failed);
  for (const char* raw : {"\x14\x03\x03\x00\x01\x01", "\x15\x03\x03\x00\x02\x02\x28",
                          "\x17\x03\x03\x41\x01", "\x17\x03\x03\x00\x10", "GET / HTTP/1.1"}) {
    Ends ends;
    CHECK(event_of(*ends.far,
                   std::string(raw, raw[0] == 'G' ? 14 : 5 + (raw[0] < 0x17 ? raw[4] : 0))) ==
          Event::Failed);
  }
}

TEST_CASE("padding is taken off, and a record of nothing else is refused") {
  Ends ends;
  CHECK(opened(*ends.far, sealed(*ends.near, std::string("hi\x17\0\0", 5), 0)) == "hi");
  CHECK(event_of(*ends.far, sealed(*ends.near, std::string(3, '\0'), 0)) == Event::Failed);
}

TEST_CASE("new keys of the peer are followed, and answered before the next data when it asks") {
  Ends ends;
  CHECK(update_from(*ends.far).empty());
  for (int round = 0; round < 3; ++round) {
    // What `near` sends next it must seal with its new key: it owes itself an update then.
    CHECK(event_of(*ends.near, sealed(*ends.far, kRequestUpdate, kHandshake)) == Event::Nothing);
    const std::string update = update_from(*ends.near);
    CHECK(update.size() == TlsRecords::kUpdateBytes);
    CHECK(event_of(*ends.far, update) == Event::Nothing);
    CHECK(opened(*ends.far, sealed(*ends.near, "new")) == "new");
    CHECK(update_from(*ends.near).empty());
    // `far` sealed its request by hand and has its old key still; only a new pair goes on.
    ends = Ends();
  }
}

TEST_CASE("new keys may come in parts, but nothing between them") {
  Ends ends;
  CHECK(event_of(*ends.near, sealed(*ends.far, kRequestUpdate.substr(0, 2), kHandshake)) ==
        Event::Nothing);
  CHECK(event_of(*ends.near, sealed(*ends.far, kRequestUpdate.substr(2), kHandshake)) ==
        Event::Nothing);
  CHECK_FALSE(update_from(*ends.near).empty());
  for (const auto& [content, type] : std::vector<std::pair<std::string, std::uint8_t>>{
           {"data", kData}, {std::string("\x01\0", 2), kAlert}, {"", kData}}) {
    Ends others;
    CHECK(event_of(*others.near, sealed(*others.far, kRequestUpdate.substr(0, 2), kHandshake)) ==
          Event::Nothing);
    CHECK(event_of(*others.near, sealed(*others.far, content, type)) == Event::Failed);
  }
}

TEST_CASE("other messages of the handshake, and malformed ones, end the connection") {
  const std::string bad[] = {std::string("\x04\0\0\x01\x01", 5),
                             std::string("\x18\0\0\x02\x01", 5),
                             std::string("\x18\0\0\x01\x02", 5),
                             std::string(6, '\x18'),
                             kRequestUpdate + "x",
                             ""};
  for (const std::string& content : bad) {
    Ends ends;
    CHECK(event_of(*ends.near, sealed(*ends.far, content, kHandshake)) == Event::Failed);
    CHECK(ends.near->owes_alert());
  }
}

TEST_CASE("alerts close, are ignored, or end with what they say") {
  Ends ends;
  CHECK(event_of(*ends.near, sealed(*ends.far, std::string("\x01\x5a", 2), kAlert)) ==
        Event::Nothing);
  std::string record(TlsRecords::kOverheadBytes + 2, '\0');
  record.resize(ends.far->seal_close(record.data()));
  CHECK(event_of(*ends.near, record) == Event::Closed);
  Ends fatal;
  CHECK(event_of(*fatal.near, sealed(*fatal.far, std::string("\x02\x28", 2), kAlert)) ==
        Event::Failed);
  CHECK_FALSE(fatal.near->owes_alert());
  Ends malformed;
  CHECK(event_of(*malformed.near, sealed(*malformed.far, "x", kAlert)) == Event::Failed);
  CHECK(event_of(*Ends().near, sealed(*Ends().far, "x", 24)) == Event::Failed);
}

TEST_CASE("records without data have an end") {
  Ends ends;
  for (int i = 0; i < 32; ++i) CHECK(event_of(*ends.near, sealed(*ends.far, "")) == Event::Nothing);
  CHECK(event_of(*ends.near, sealed(*ends.far, "")) == Event::Failed);
  Ends others;
  for (int i = 0; i < 100; ++i) {
    CHECK(event_of(*others.near, sealed(*others.far, "")) == Event::Nothing);
    CHECK(opened(*others.near, sealed(*others.far, "x")) == "x");
  }
}
