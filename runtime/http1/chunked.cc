#include "runtime/http1/chunked.h"

#include <algorithm>

#include "runtime/result.h"

namespace pillion::http1 {
namespace {

constexpr std::uint8_t kSizeDigitsMax = 16;
constexpr std::uint64_t kChunkBytesMax = 0x7fff'ffff'ffff'ffffull;

bool ends_with_empty_line(std::string_view text) {
  return text.size() >= 4 && text.substr(text.size() - 4) == "\r\n\r\n";
}

}  // namespace

bool ChunkedDecoder::refuse(std::string_view reason, int status) {
  state_ = State::Failed;
  error_ = {status, reason};
  return false;
}

bool ChunkedDecoder::size_byte(char c) {
  const int digit = hex_digit(c);
  if (digit >= 0) {
    if (++digits_ > kSizeDigitsMax) return refuse("a chunk size is too long");
    remaining_ = remaining_ << 4 | static_cast<std::uint64_t>(digit);
    return true;
  }
  const bool is_space = c == ' ' || c == '\t';
  if (digits_ == 0 || (c != ';' && c != '\r' && !is_space)) {
    return refuse("a chunk size is malformed");
  }
  if (remaining_ > kChunkBytesMax) return refuse("a chunk size is too large");
  state_ = c == ';' ? State::Extension : is_space ? State::SizeSpace : State::SizeLineFeed;
  return true;
}

// Of an extension, or of the whitespace in front of it (BWS, RFC 9112 §7.1.1).
bool ChunkedDecoder::count_extension_byte() {
  if (++extension_bytes_ > kChunkExtensionBytesMax) {
    return refuse("the chunk extensions are too long");
  }
  return true;
}

// One byte of framing. False after a failure.
bool ChunkedDecoder::step_byte(char c) {
  switch (state_) {
    case State::Size: return size_byte(c);
    case State::SizeSpace:
      if (c == ';') {
        state_ = State::Extension;
        return true;
      }
      if (c != ' ' && c != '\t') return refuse("a chunk size is malformed");
      return count_extension_byte();
    case State::Extension:
      if (c == '\r') {
        state_ = State::SizeLineFeed;
        return true;
      }
      if (find_value_end(&c, &c + 1) == &c) return refuse("a chunk extension is malformed");
      return count_extension_byte();
    case State::SizeLineFeed:
      if (c != '\n') return refuse("a chunk size line does not end in CRLF");
      state_ = remaining_ > 0 ? State::Data : State::TrailerStart;
      return true;
    case State::DataReturn:
      if (c != '\r') return refuse("a chunk is longer than its size");
      state_ = State::DataLineFeed;
      return true;
    case State::DataLineFeed:
      if (c != '\n') return refuse("a chunk does not end in CRLF");
      state_ = State::Size;
      digits_ = 0;
      return true;
    case State::TrailerStart:
      if (c == '\r') {
        state_ = State::LastLineFeed;
        return true;
      }
      state_ = State::Trailer;
      [[fallthrough]];
    case State::Trailer:
      trailer_.push_back(c);
      if (trailer_.size() > kTrailerBytesMax) return refuse("the trailers are too large", 431);
      if (ends_with_empty_line(trailer_)) state_ = State::Done;
      return true;
    case State::LastLineFeed:
      if (c != '\n') return refuse("the body does not end in CRLF");
      state_ = State::Done;
      return true;
    case State::Data:
    case State::Done:
    case State::Failed: break;
  }
  return false;
}

ChunkedDecoder::Step ChunkedDecoder::next(std::string_view bytes) {
  Step step;
  while (true) {
    if (state_ == State::Done || state_ == State::Failed) {
      step.event = state_ == State::Done ? Event::Done : Event::Failed;
      return step;
    }
    if (step.consumed == bytes.size()) return step;
    if (state_ == State::Data) break;
    step_byte(bytes[step.consumed]);
    if (state_ != State::Failed) ++step.consumed;
  }
  const std::size_t available = bytes.size() - step.consumed;
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(available, remaining_));
  step.event = Event::Data;
  step.data = bytes.substr(step.consumed, size);
  step.consumed += size;
  remaining_ -= size;
  if (remaining_ == 0) state_ = State::DataReturn;
  return step;
}

void ChunkedDecoder::reset() {
  state_ = State::Size;
  digits_ = 0;
  remaining_ = 0;
  extension_bytes_ = 0;
  trailer_.clear();
  error_ = {};
}

std::size_t write_chunk_size(char* out, std::uint64_t size) {
  PILLION_ASSERT(size > 0);
  constexpr char kDigits[] = "0123456789abcdef";
  const int digits = (67 - __builtin_clzll(size)) / 4;
  for (int i = digits - 1; i >= 0; --i) {
    out[i] = kDigits[size & 15];
    size >>= 4;
  }
  out[digits] = '\r';
  out[digits + 1] = '\n';
  return static_cast<std::size_t>(digits) + 2;
}

}  // namespace pillion::http1
