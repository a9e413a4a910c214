#include "adapters/logs/follow/transcoder.h"

#include <iconv.h>

#include <algorithm>
#include <cerrno>

#include "adapters/logs/encode/state.h"

namespace pillion::logs {
namespace {

std::string normal_name(const std::string& encoding) {
  std::string name;
  for (const char c : encoding) {
    if (c == '_' || c == '-') continue;
    name += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  }
  return name;
}

}  // namespace

void Transcoder::Close::operator()(void* converter) const {
  ::iconv_close(static_cast<iconv_t>(converter));
}

bool Transcoder::is_needed(const std::string& encoding) {
  const std::string name = normal_name(encoding);
  return name != "utf8" && name != "ascii" && name != "usascii";
}

Result<Transcoder> Transcoder::open(const std::string& encoding, std::string_view head) {
  std::string name = encoding;
  const std::string normal = normal_name(encoding);
  bool is_big_endian = normal == "utf16be";
  const bool is_wide = is_big_endian || normal == "utf16" || normal == "utf16le";
  if (normal == "utf16") {
    is_big_endian = head.starts_with("\xfe\xff");
    name = is_big_endian ? "UTF-16BE" : "UTF-16LE";
  }
  const iconv_t converter = ::iconv_open("UTF-8", name.c_str());
  // NOLINTNEXTLINE: iconv's way to say no
  if (converter == reinterpret_cast<iconv_t>(-1)) {
    return fail("there is no encoding \"" + encoding + "\" (see iconv --list)");
  }
  Transcoder transcoder(converter, is_wide ? 2 : 1, is_big_endian);
  // Where a line feed is something else, lines cannot be told before they are converted.
  const std::string_view feed = !is_wide        ? std::string_view("\n", 1)
                                : is_big_endian ? std::string_view("\0\n", 2)
                                                : std::string_view("\n\0", 2);
  if (transcoder.to_utf8(feed, true) != "\n") {
    return fail("encoding \"" + encoding +
                "\" is not supported: its line feed is not one byte 0x0a");
  }
  return transcoder;
}

std::size_t Transcoder::find_line_end(std::string_view raw) const {
  if (unit_ == 1) {
    const std::size_t newline = raw.find('\n');
    return newline == std::string_view::npos ? newline : newline + 1;
  }
  for (std::size_t at = 0;;) {
    const std::size_t feed = raw.find('\n', at);
    if (feed == std::string_view::npos) return feed;
    const std::size_t begin = feed & ~std::size_t{1};
    const bool is_aligned = (feed & 1) == (is_big_endian_ ? 1u : 0u);
    if (is_aligned && begin + 1 < raw.size() && raw[is_big_endian_ ? begin : begin + 1] == '\0') {
      return begin + 2;
    }
    at = feed + 1;
  }
}

void Transcoder::convert(std::string_view raw) {
  char* in = const_cast<char*>(raw.data());  // iconv's prototype; it does not write there
  std::size_t in_left = raw.size();
  while (in_left > 0) {
    const std::size_t before = text_.size();
    text_.resize(before + in_left * 3 + 16);
    char* out = text_.data() + before;
    std::size_t out_left = text_.size() - before;
    const std::size_t done =
        ::iconv(static_cast<iconv_t>(converter_.get()), &in, &in_left, &out, &out_left);
    const int error = errno;
    text_.resize(text_.size() - out_left);
    if (done != static_cast<std::size_t>(-1)) return;
    if (error == E2BIG) continue;
    text_ += "\xef\xbf\xbd";  // not valid, or cut off in the middle
    const std::size_t skipped = std::min(unit_, in_left);
    in += skipped;
    in_left -= skipped;
    ::iconv(static_cast<iconv_t>(converter_.get()), nullptr, nullptr, nullptr, nullptr);
  }
}

std::string_view Transcoder::to_utf8(std::string_view raw, bool takes_rest) {
  text_.clear();
  ends_.clear();
  for (std::size_t at = 0; at < raw.size();) {
    const std::size_t length = find_line_end(raw.substr(at));
    if (length == std::string_view::npos && !takes_rest) break;
    convert(raw.substr(at, length));
    at = length == std::string_view::npos ? raw.size() : at + length;
    ends_.push_back({text_.size(), at});
  }
  const std::size_t size = text_.size();
  text_.append(kScanPadding, '\0');
  return {text_.data(), size};
}

std::size_t Transcoder::raw_bytes(std::size_t bytes) const {
  const auto end =
      std::lower_bound(ends_.begin(), ends_.end(), bytes,
                       [](const LineEnd& line, std::size_t value) { return line.text < value; });
  return bytes == 0 || end == ends_.end() ? 0 : end->raw;
}

}  // namespace pillion::logs
