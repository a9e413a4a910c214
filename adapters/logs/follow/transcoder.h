// From the encoding of a file to UTF-8, line by line, so that a position in the text is one in the
// file, too. iconv(3) knows the encodings; those that write a line feed as the byte 0x0a, and
// UTF-16.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace pillion::logs {

class Transcoder {
 public:
  // "utf-16" is little-endian unless the first bytes of the file, `head`, say otherwise.
  static Result<Transcoder> open(const std::string& encoding, std::string_view head = {});
  // Whether `encoding` names UTF-8, which needs none.
  static bool is_needed(const std::string& encoding);

  // Bytes of the smallest character: 2 of UTF-16, else 1.
  std::size_t unit() const { return unit_; }
  // Behind the first line feed in `raw`; npos when there is none.
  std::size_t find_line_end(std::string_view raw) const;
  // The complete lines of `raw`, or with `takes_rest` all of it. What is not valid becomes U+FFFD.
  std::string_view to_utf8(std::string_view raw, bool takes_rest);
  // Of the last to_utf8(): how many bytes of `raw` the first `bytes` of its lines were.
  std::size_t raw_bytes(std::size_t bytes) const;

 private:
  struct Close {
    void operator()(void* converter) const;
  };
  Transcoder(void* converter, std::size_t unit, bool is_big_endian)
      : converter_(converter), unit_(unit), is_big_endian_(is_big_endian) {}
  void convert(std::string_view raw);

  struct LineEnd {
    std::size_t text;
    std::size_t raw;
  };
  std::unique_ptr<void, Close> converter_;
  std::size_t unit_;
  bool is_big_endian_;
  std::string text_;
  std::vector<LineEnd> ends_;
};

}  // namespace pillion::logs
