// Fingerprints: what is found, what is not, and what a damaged file is.
#include "runtime/fingerprints.h"

#include <catch2/catch.hpp>

namespace pillion {
namespace {

FingerprintFile file_of(const std::vector<std::string>& values) {
  FingerprintFile file{FingerprintKey::random(), {}};
  for (const auto& value : values) file.values.push_back(fingerprint_of(file.key, value));
  return file;
}

TEST_CASE("A value is found at any place of a text, the longest first") {
  const FingerprintSearch search(file_of({"password", "password-0123", "zzzzzzzz"}));
  for (std::size_t before = 0; before < 20; ++before) {
    const std::string text = std::string(before, 'x') + "password-0123" + "y";
    const auto found = search.find(text);
    CHECK(found.begin == before);
    CHECK(found.length == 13);
    CHECK(search.find(text, before + 1).length == 0);
  }
  CHECK(search.find("password").length == 8);
  CHECK(search.find("passwor").length == 0);
  CHECK(search.find("").length == 0);
  CHECK(search.find("pass word Password").length == 0);
  CHECK(FingerprintSearch().find("password").length == 0);
}

TEST_CASE("Bytes of any kind are a value") {
  const std::string value("\0\n\"\\\xff\xc3\xa4 ", 8);
  const FingerprintSearch search(file_of({value}));
  CHECK(search.find("a" + value).begin == 1);
}

TEST_CASE("A file of fingerprints is read back as it was written, and tells no value") {
  FingerprintFile file = file_of({"correct horse", "battery staple"});
  file.values[1].retired_at = 1705329121;
  const std::string text = render_fingerprints(file);
  CHECK(text.find("horse") == std::string::npos);
  const auto again = parse_fingerprints(text).value();
  CHECK(again.values == file.values);
  CHECK(again.key.bytes == file.key.bytes);
  CHECK(FingerprintSearch(again).find("my battery staple").begin == 3);
}

TEST_CASE("A file of fingerprints that is cut or changed is refused") {
  const std::string text = render_fingerprints(file_of({"correct horse"}));
  for (std::size_t length = 1; length < text.size(); ++length) {
    if (text[length - 1] == '\n') continue;  // as if a value had never been there
    INFO("length " << length);
    CHECK_FALSE(parse_fingerprints(text.substr(0, length)));
  }
  CHECK_FALSE(parse_fingerprints(""));
  CHECK_FALSE(parse_fingerprints("pillion-fingerprints 2 00\n"));
  CHECK_FALSE(parse_fingerprints(text + "7 1 00112233445566778899aabbccddeeff 0\n"));
}

}  // namespace
}  // namespace pillion
