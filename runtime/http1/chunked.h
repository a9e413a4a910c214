// The chunked transfer coding (RFC 9112 §7.1), strictly. Sans-I/O: the decoder returns views into
// the bytes it is given; chunk extensions are checked, counted and dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/http1/head_parser.h"

namespace pillion::http1 {

inline constexpr std::size_t kChunkExtensionBytesMax = 4096;  // of one body
inline constexpr std::size_t kTrailerBytesMax = 8192;

class ChunkedDecoder {
 public:
  enum class Event : std::uint8_t {
    NeedMore,  // all bytes were consumed
    Data,      // `data` is body; more may follow at once
    Done,      // the body is complete, bytes after `consumed` belong to the next message
    Failed,    // see error(); every later call fails too
  };
  struct Step {
    Event event = Event::NeedMore;
    std::size_t consumed = 0;
    std::string_view data;
  };

  // Looks at `bytes` from the start. Call again with what `consumed` leaves over until NeedMore.
  Step next(std::string_view bytes);

  const MessageError& error() const { return error_; }
  bool is_done() const { return state_ == State::Done; }
  // After Done: the raw trailer section with its empty line, for parse_field_section. Empty when
  // there were no trailers. Valid until reset.
  std::string_view trailer_section() const { return trailer_; }
  // Ready for the next body; keeps its memory.
  void reset();

 private:
  enum class State : std::uint8_t {
    Size,
    SizeSpace,  // behind a size: the whitespace before an extension, and before nothing else
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerStart,
    Trailer,
    LastLineFeed,
    Done,
    Failed,
  };

  bool step_byte(char c);
  bool size_byte(char c);
  bool count_extension_byte();
  bool refuse(std::string_view reason, int status = 400);

  State state_ = State::Size;
  std::uint8_t digits_ = 0;
  std::uint64_t remaining_ = 0;
  std::size_t extension_bytes_ = 0;
  std::string trailer_;
  MessageError error_;
};

// The longest "size CRLF" that write_chunk_size makes.
inline constexpr std::size_t kChunkSizeLineMax = 18;
// Writes the chunk's size in hexadecimal and CRLF to `out`; returns the bytes written. `size` > 0:
// a zero would end the body.
std::size_t write_chunk_size(char* out, std::uint64_t size);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
inline constexpr std::string_view kLastChunkBeforeTrailers = "0\r\n";

}  // namespace pillion::http1
