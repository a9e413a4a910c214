// Vector scans and the JSON string writer. Part of the encoder's inner loops: included by one .cc
// per instruction set, which names the namespace PILLION_LOGS_ISA and sets the target before.
//
// All functions may read up to kScanPadding bytes past `end` and write as many past the returned
// pointer; callers give buffers with that much room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "adapters/logs/encode/state.h"
#include "runtime/text_codes.h"

namespace pillion::logs {
namespace PILLION_LOGS_ISA {

#if defined(__AVX2__)

inline constexpr std::size_t kStep = 32;

inline std::uint32_t escape_mask(__m256i bytes) {
  // As signed bytes, control characters and everything outside ASCII are below 0x20.
  const __m256i low = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
  const __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
  const __m256i backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
  return static_cast<std::uint32_t>(
      _mm256_movemask_epi8(_mm256_or_si256(low, _mm256_or_si256(quote, backslash))));
}

// Copies kStep bytes; bit i of the result: byte i cannot stand in a JSON string as it is.
inline std::uint32_t copy_step(char* out, const char* from) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
  return escape_mask(bytes);
}

inline std::uint32_t structural_half(const char* from) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  const __m256i low = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x21), bytes);
  const __m256i equals = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('='));
  const __m256i quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"'));
  const __m256i backslash = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\'));
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(
      _mm256_or_si256(_mm256_or_si256(low, equals), _mm256_or_si256(quote, backslash))));
}

// Bit i: byte i is a space, a control character, not ASCII, or one of = " and backslash.
inline std::uint64_t structural_mask(const char* from) {
  return structural_half(from) | static_cast<std::uint64_t>(structural_half(from + 32)) << 32;
}

#elif defined(__SSE2__)

inline constexpr std::size_t kStep = 16;

inline std::uint32_t copy_step(char* out, const char* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
  const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
  const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  return static_cast<std::uint32_t>(
      _mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, backslash))));
}

inline std::uint64_t structural_quarter(const char* from) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x21));
  const __m128i equals = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('='));
  const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
  const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
  return static_cast<std::uint32_t>(
      _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(low, equals), _mm_or_si128(quote, backslash))));
}

inline std::uint64_t structural_mask(const char* from) {
  return structural_quarter(from) | structural_quarter(from + 16) << 16 |
         structural_quarter(from + 32) << 32 | structural_quarter(from + 48) << 48;
}

#else  // any other machine: the same answers, one byte at a time

inline constexpr std::size_t kStep = 16;

inline bool needs_escape(char c) {
  return static_cast<signed char>(c) < 0x20 || c == '"' || c == '\\';
}

inline std::uint32_t copy_step(char* out, const char* from) {
  std::uint32_t mask = 0;
  for (std::size_t i = 0; i < kStep; ++i)
    mask |= static_cast<std::uint32_t>(needs_escape(from[i])) << i;
  std::memcpy(out, from, kStep);
  return mask;
}

inline std::uint64_t structural_mask(const char* from) {
  std::uint64_t mask = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    const bool is_set = needs_escape(from[i]) || from[i] == ' ' || from[i] == '=';
    mask |= static_cast<std::uint64_t>(is_set) << i;
  }
  return mask;
}

#endif

// Walks the structural bytes of [begin, end).
class Cursor {
 public:
  Cursor(const char* begin, const char* end) : block_(begin), end_(end) {
    bits_ = begin < end ? structural_mask(begin) : 0;
  }

  // The next structural byte, `end` when there is none left.
  const char* next() {
    while (bits_ == 0) {
      block_ += 64;
      if (block_ >= end_) return end_;
      bits_ = structural_mask(block_);
    }
    const char* const at = block_ + __builtin_ctzll(bits_);
    bits_ &= bits_ - 1;
    return at < end_ ? at : end_;
  }

 private:
  const char* block_;
  const char* end_;
  std::uint64_t bits_;
};

// Length of the UTF-8 sequence at `p` (first byte >= 0x80), 0 when it is not one (RFC 3629).
inline std::size_t utf8_sequence(const char* p, const char* end) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(p[i]); };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const auto left = static_cast<std::size_t>(end - p);
  const unsigned char first = byte(0);
  if (first >= 0xc2 && first <= 0xdf) return left >= 2 && continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (left < 3 || !continues(1) || !continues(2)) return 0;
    if (first == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
    if (first == 0xed && byte(1) > 0x9f) return 0;  // surrogate
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (left < 4 || !continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xf0 && byte(1) < 0x90) return 0;
    if (first == 0xf4 && byte(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

template<std::size_t N>
inline char* put(char* out, const char (&text)[N]) {
  std::memcpy(out, text, N - 1);
  return out + N - 1;
}

inline char* put(char* out, const char* text, std::size_t length) {
  std::memcpy(out, text, length);
  return out + length;
}

// Copies bytes that need no escape; writes in steps, so up to kStep - 1 bytes too many.
inline char* put_clean(char* out, const char* begin, const char* end) {
  const auto length = static_cast<std::size_t>(end - begin);
  for (std::size_t i = 0; i < length; i += kStep) std::memcpy(out + i, begin + i, kStep);
  return out + length;
}

// A run of non-ASCII: UTF-8 is copied, each byte that is none becomes U+FFFD. Advances `p`.
inline char* put_utf8(EncodeState& state, char* out, const char*& p, const char* end) {
  while (p < end && static_cast<unsigned char>(*p) >= 0x80) {
    const std::size_t length = utf8_sequence(p, end);
    if (length == 0) {
      out = put(out, "\xEF\xBF\xBD");
      ++state.counters.invalid_utf8;
      ++p;
    } else {
      std::memcpy(out, p, 4);
      out += length;
      p += length;
    }
  }
  return out;
}

// Writes what stands at `p` and is not plain: one control character, quote or backslash, or a run
// of non-ASCII. Advances `p`.
__attribute__((noinline)) inline char* put_special(EncodeState& state, char* out, const char*& p,
                                                   const char* end) {
  const char c = *p;
  if (static_cast<unsigned char>(c) >= 0x80) return put_utf8(state, out, p, end);
  ++p;
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"': return put(out, "\\\"");
    case '\\': return put(out, "\\\\");
    case '\n': return put(out, "\\n");
    case '\r': return put(out, "\\r");
    case '\t': return put(out, "\\t");
    default:
      out = put(out, "\\u00");
      *out++ = kHex[static_cast<unsigned char>(c) >> 4];
      *out++ = kHex[c & 15];
      return out;
  }
}

// Position of the first byte that needs an escape within `left` bytes of a step, kStep for none.
inline std::size_t first_special(std::uint32_t mask, std::size_t left) {
  if (left < kStep) mask &= (1u << left) - 1u;
  return mask == 0 ? kStep : static_cast<std::size_t>(__builtin_ctz(mask));
}

// [p, end) as the inside of a JSON string. At most six bytes out per byte in.
inline char* put_escaped(EncodeState& state, char* out, const char* p, const char* end) {
  while (p < end) {
    const auto left = static_cast<std::size_t>(end - p);
    const std::size_t clean = first_special(copy_step(out, p), left);
    if (clean == kStep) {
      const std::size_t count = left < kStep ? left : kStep;
      p += count;
      out += count;
      continue;
    }
    p += clean;
    out = put_special(state, out + clean, p, end);
  }
  return out;
}

// The code unit of the four hex digits at `p`, -1 when there are none.
inline int code_unit(const char* p, const char* end) {
  if (end - p < 4) return -1;
  int unit = 0;
  for (int i = 0; i < 4; ++i) {
    const int value = hex_value(p[i]);
    if (value < 0) return -1;
    unit = unit * 16 + value;
  }
  return unit;
}

// Writes the escape at `p` (a backslash) and advances `p` past it; null, with `p` untouched, when
// it is none that JSON knows. A lone surrogate becomes U+FFFD.
inline char* put_escape(char* out, const char*& p, const char* end) {
  if (end - p < 2) return nullptr;
  switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
      out[0] = '\\';
      out[1] = p[1];
      p += 2;
      return out + 2;
    case 'u': break;
    default: return nullptr;
  }
  const int unit = code_unit(p + 2, end);
  if (unit < 0) return nullptr;
  if (unit < 0xd800 || unit > 0xdfff) {
    std::memcpy(out, p, 6);
    p += 6;
    return out + 6;
  }
  const bool has_low = unit < 0xdc00 && end - p >= 12 && p[6] == '\\' && p[7] == 'u';
  const int low = has_low ? code_unit(p + 8, end) : -1;
  if (low < 0xdc00 || low > 0xdfff) {
    p += 6;
    return put(out, "\\ufffd");
  }
  std::memcpy(out, p, 12);
  p += 12;
  return out + 12;
}

// As put_escaped, for text that stood in quotes: escapes that JSON shares stay as they are.
inline char* put_unquoted(EncodeState& state, char* out, const char* p, const char* end) {
  while (p < end) {
    const auto left = static_cast<std::size_t>(end - p);
    const std::size_t clean = first_special(copy_step(out, p), left);
    if (clean == kStep) {
      const std::size_t count = left < kStep ? left : kStep;
      p += count;
      out += count;
      continue;
    }
    p += clean;
    out += clean;
    char* const after_escape = *p == '\\' ? put_escape(out, p, end) : nullptr;
    out = after_escape != nullptr ? after_escape : put_special(state, out, p, end);
  }
  return out;
}

// As put_escaped, for CSV text in which "" stands for a quote.
inline char* put_doubled(EncodeState& state, char* out, const char* p, const char* end) {
  while (p < end) {
    const void* const found = std::memchr(p, '"', static_cast<std::size_t>(end - p));
    if (found == nullptr) return put_escaped(state, out, p, end);
    const char* const quote = static_cast<const char*>(found);
    out = put_escaped(state, out, p, quote + 1);
    p = quote + 1 < end && quote[1] == '"' ? quote + 2 : quote + 1;
  }
  return out;
}

inline char* put_text(EncodeState& state, char* out, const Piece& piece) {
  switch (piece.text) {
    case Text::Clean: return put_clean(out, piece.begin, piece.end);
    case Text::Raw: return put_escaped(state, out, piece.begin, piece.end);
    case Text::Backslash: return put_unquoted(state, out, piece.begin, piece.end);
    case Text::Doubled: return put_doubled(state, out, piece.begin, piece.end);
  }
  return out;
}

inline char* put_number(char* out, std::uint64_t value) {
  char digits[20];
  std::size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (count > 0) *out++ = digits[--count];
  return out;
}

}  // namespace PILLION_LOGS_ISA
}  // namespace pillion::logs
