// Whom a ClientHello asks for, however it is cut into records and segments.
#include "proxy/client_hello.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;
using Status = ClientHello::Status;

namespace {

std::string number(std::size_t value, std::size_t size) {
  std::string text;
  for (std::size_t i = size; i-- > 0;) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

std::string vector(std::size_t length_size, const std::string& content) {
  return number(content.size(), length_size) + content;
}

std::string extension(std::size_t type, const std::string& content) {
  return number(type, 2) + vector(2, content);
}

std::string server_name(const std::string& name) {
  return extension(0, vector(2, std::string(1, '\0') + vector(2, name)));
}

std::string hello(const std::string& extensions, std::size_t padding = 0) {
  std::string body = number(0x0303, 2) + std::string(32, 'r') + vector(1, std::string(32, 's')) +
                     vector(2, "\x13\x01\x13\x02") + vector(1, std::string(1, '\0'));
  std::string all = extensions;
  if (padding > 0) all += extension(21, std::string(padding, '\0'));
  if (!all.empty()) body += vector(2, all);
  return std::string(1, '\x01') + vector(3, body);
}

std::string records(const std::string& message, std::size_t size = 16384) {
  std::string bytes;
  for (std::size_t i = 0; i < message.size(); i += size) {
    bytes += std::string("\x16\x03\x01") + vector(2, message.substr(i, size));
  }
  return bytes;
}

std::string alpn() { return extension(16, vector(2, vector(1, "h2") + vector(1, "http/1.1"))); }

}  // namespace

TEST_CASE("the name and the protocols of a hello are found") {
  const ClientHello found = parse_client_hello(records(hello(alpn() + server_name("Db.Example."))));
  CHECK(found.status == Status::Complete);
  CHECK(found.server_name == "db.example");
  CHECK(found.alpn == std::vector<std::string>{"h2", "http/1.1"});
}

TEST_CASE("a hello without extensions has no name") {
  const ClientHello found = parse_client_hello(records(hello("")));
  CHECK(found.status == Status::Complete);
  CHECK(found.server_name.empty());
}

TEST_CASE("every beginning of a hello is incomplete, in one record or in many") {
  for (const std::size_t size : {16384u, 100u, 5u}) {
    const std::string bytes = records(hello(server_name("db.example")), size);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      CAPTURE(size, i);
      REQUIRE(parse_client_hello(std::string_view(bytes).substr(0, i)).status ==
              Status::Incomplete);
    }
    CHECK(parse_client_hello(bytes).server_name == "db.example");
    CHECK(parse_client_hello(bytes + "\x14\x03\x03").server_name == "db.example");
  }
}

TEST_CASE("a hello has its limits") {
  CHECK(parse_client_hello(records(hello(server_name("a.b"), 16000))).status == Status::Complete);
  CHECK(parse_client_hello(records(hello(server_name("a.b"), 16384))).status == Status::TooLarge);
  // Known from its first four bytes: the rest is not waited for.
  CHECK(parse_client_hello(records(std::string("\x01\x00\x80\x00", 4))).status == Status::TooLarge);
  CHECK(parse_client_hello(records(hello(server_name("a.b"), 500), 2)).status == Status::TooLarge);
}

TEST_CASE("what is no hello is said to be none") {
  CHECK(parse_client_hello("GET / HTTP/1.1\r\n").status == Status::NotTls);
  CHECK(parse_client_hello(std::string("\x16\x02\x00", 3)).status == Status::NotTls);
  CHECK(parse_client_hello(std::string("\x15\x03\x01\x00\x02\x02\x28", 7)).status ==
        Status::NotTls);
  CHECK(parse_client_hello(std::string("\x16\x03\x01\x00\x00", 5)).status == Status::Malformed);
  CHECK(parse_client_hello(records(std::string("\x02\x00\x00\x01x", 5))).status ==
        Status::Malformed);
}

TEST_CASE("a hello whose lengths lie, or that says a thing twice, is malformed") {
  const std::string name = server_name("db.example");
  for (const std::string& extensions :
       {name + name, alpn() + alpn(), server_name(""), server_name("a b"), server_name(".a"),
        server_name(std::string(300, 'a')), extension(0, ""), extension(0, vector(2, "")),
        extension(0, vector(2, std::string(1, '\x01') + vector(2, "x"))),
        extension(16, vector(2, vector(1, ""))), std::string("\x00\x00\x00\x09x", 5)}) {
    CAPTURE(extensions);
    CHECK(parse_client_hello(records(hello(extensions))).status == Status::Malformed);
  }
}

TEST_CASE("an alert is a whole record") {
  CHECK(fatal_alert(kAlertUnrecognizedName) == std::string("\x15\x03\x03\x00\x02\x02\x70", 7));
  CHECK(fatal_alert(kAlertDecodeError) == std::string("\x15\x03\x03\x00\x02\x02\x32", 7));
}
