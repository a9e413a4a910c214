// Other encodings than UTF-8: positions in the text are positions in the file.
#include <catch2/catch.hpp>

#include "adapters/logs/follow/transcoder.h"

namespace pillion::logs {
namespace {

std::string wide(std::u16string_view text, bool is_big_endian) {
  std::string bytes;
  for (const char16_t unit : text) {
    const char low = static_cast<char>(unit & 0xff), high = static_cast<char>(unit >> 8);
    bytes += is_big_endian ? high : low;
    bytes += is_big_endian ? low : high;
  }
  return bytes;
}

}  // namespace

TEST_CASE("UTF-16 in both orders; only an aligned line feed ends a line") {
  for (const bool is_big_endian : {false, true}) {
    Transcoder transcoder = Transcoder::open(is_big_endian ? "UTF-16BE" : "utf-16le").value();
    // U+0A0A and U+010A hold the byte of a line feed; U+1F600 is a pair.
    const std::string raw = wide(u"a\u0a0a\u010a\n\U0001f600b\nrest", is_big_endian);
    CHECK(transcoder.unit() == 2);
    CHECK(transcoder.find_line_end(raw) == 8);
    CHECK(transcoder.to_utf8(raw, false) ==
          "a\xe0\xa8\x8a\xc4\x8a\n\xf0\x9f\x98\x80"
          "b\n");
    CHECK(transcoder.raw_bytes(7) == 8);
    CHECK(transcoder.raw_bytes(13) == 16);
    CHECK(transcoder.raw_bytes(0) == 0);
    CHECK(transcoder.to_utf8(raw, true).substr(13) == "rest");
    for (std::size_t cut = 0; cut < 8; ++cut) {
      CHECK(transcoder.to_utf8(std::string_view(raw).substr(0, cut), false).empty());
    }
    const std::string lone = wide(std::u16string{u'x', char16_t{0xd83d}, u'\n'}, is_big_endian);
    CHECK(transcoder.to_utf8(lone, false) == "x\xef\xbf\xbd\n");
  }
  CHECK(Transcoder::open("utf-16", "\xfe\xff")->find_line_end(std::string_view("\0\n", 2)) == 2);
  CHECK(Transcoder::open("utf-16", "\xff\xfe")->find_line_end(std::string_view("\n\0", 2)) == 2);
}

TEST_CASE("Encodings of one byte, of several, and those that cannot be") {
  Transcoder latin = Transcoder::open("windows-1252").value();
  CHECK(latin.to_utf8("caf\xe9 \x80\nx", false) == "caf\xc3\xa9 \xe2\x82\xac\n");
  CHECK(latin.raw_bytes(10) == 7);
  Transcoder japanese = Transcoder::open("shift_jis").value();
  CHECK(japanese.to_utf8("\x93\xfa\x96\x7b\n", false) == "\xe6\x97\xa5\xe6\x9c\xac\n");
  CHECK(japanese.to_utf8("\x93\n", true) == "\xef\xbf\xbd\n");  // cut in the middle
  CHECK_FALSE(Transcoder::is_needed("UTF-8"));
  CHECK_FALSE(Transcoder::open("klingon"));
  CHECK_FALSE(Transcoder::open("ebcdic-us"));
  CHECK_FALSE(Transcoder::open("utf-32"));
}

}  // namespace pillion::logs
