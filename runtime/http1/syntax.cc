#include "runtime/http1/syntax.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstring>

namespace pillion::http1 {
namespace internal {
namespace {

constexpr bool is_alphanumeric(unsigned c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

constexpr bool contains(std::string_view set, unsigned c) {
  for (const char member : set) {
    if (static_cast<unsigned char>(member) == c) return true;
  }
  return false;
}

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> classes{};
  for (unsigned c = 0; c < 256; ++c) {
    std::uint8_t bits = 0;
    if (is_alphanumeric(c) || contains("!#$%&'*+-.^_`|~", c)) bits |= kTokenBit;
    // Visible ASCII; a fragment never travels (RFC 9110 §7.1).
    if (c > 0x20 && c < 0x7f && c != '#') bits |= kTargetBit;
    // RFC 3986 reg-name without the comma, which would let one Host pass for a list.
    if (is_alphanumeric(c) || contains("-._~%!$&'()*+;=", c)) bits |= kHostBit;
    classes[c] = bits;
  }
  return classes;
}

}  // namespace

constexpr std::array<std::uint8_t, 256> kCharacterClassesValue = make_classes();
const std::array<std::uint8_t, 256> kCharacterClasses = kCharacterClassesValue;

}  // namespace internal

namespace {

std::uint64_t load_word(const char* bytes) {
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// The letters A to Z among eight bytes in lower case. In seven bits, adding 0x3f carries into the
// eighth from 'A' on, and adding 0x25 from beyond 'Z' on.
std::uint64_t to_lower_word(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101010101010101ull;
  const std::uint64_t seven = word & kOnes * 0x7f;
  const std::uint64_t is_upper = (seven + kOnes * 0x3f) & ~(seven + kOnes * 0x25) & ~word;
  return word | (is_upper & kOnes * 0x80) >> 2;
}

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool is_value_byte(unsigned char c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; }

bool is_host_character(char c) {
  return (internal::kCharacterClasses[static_cast<std::uint8_t>(c)] & internal::kHostBit) != 0;
}

bool is_valid_port(std::string_view port) {
  if (port.size() > 5) return false;
  unsigned value = 0;
  for (const char c : port) {
    if (!is_digit(c)) return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value <= 65535;
}

bool is_valid_ipv6_literal(std::string_view literal) {
  if (literal.size() < 2) return false;
  for (const char c : literal) {
    if (hex_digit(c) < 0 && c != ':' && c != '.') return false;
  }
  return literal.find(':') != std::string_view::npos;
}

}  // namespace

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_token(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!is_token_character(c)) return false;
  }
  return true;
}

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && starts_with_ignoring_case(text, lower);
}

bool starts_with_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  const char* a = text.data();
  const char* b = lower.data();
  const std::size_t size = lower.size();
  if (size >= 8) {  // whole words, the last one over the end of the one before
    for (std::size_t i = 0; i + 8 < size; i += 8) {
      if (to_lower_word(load_word(a + i)) != load_word(b + i)) return false;
    }
    return to_lower_word(load_word(a + size - 8)) == load_word(b + size - 8);
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (to_lower(a[i]) != b[i]) return false;
  }
  return true;
}

void fold_case(char* text, std::size_t size) {
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    const std::uint64_t word = to_lower_word(load_word(text + i));
    std::memcpy(text + i, &word, sizeof word);
  }
  for (; i < size; ++i) text[i] = to_lower(text[i]);
}

std::string_view trim_whitespace(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<std::uint64_t> parse_decimal(std::string_view digits) {
  if (digits.empty() || digits.size() > 19) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (value > 0x7fff'ffff'ffff'ffffull) return std::nullopt;
  return value;
}

const char* find_value_end(const char* begin, const char* end) {
#if defined(__SSE2__)
  // Signed compare: bytes from 0x80 are negative, so "below 0x20" needs the two-sided test.
  const __m128i space = _mm_set1_epi8(0x20);
  const __m128i tab = _mm_set1_epi8('\t');
  const __m128i del = _mm_set1_epi8(0x7f);
  const __m128i minus_one = _mm_set1_epi8(-1);
  while (end - begin >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(begin));
    const __m128i is_control =
        _mm_and_si128(_mm_cmplt_epi8(bytes, space), _mm_cmpgt_epi8(bytes, minus_one));
    const __m128i is_bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), is_control),
                                        _mm_cmpeq_epi8(bytes, del));
    const int mask = _mm_movemask_epi8(is_bad);
    if (mask != 0) return begin + __builtin_ctz(static_cast<unsigned>(mask));
    begin += 16;
  }
#endif
  while (begin != end && is_value_byte(static_cast<unsigned char>(*begin))) ++begin;
  return begin;
}

bool is_valid_authority(std::string_view authority) {
  if (authority.empty()) return false;
  if (authority.front() == '[') {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return false;
    if (!is_valid_ipv6_literal(authority.substr(1, close - 1))) return false;
    const std::string_view rest = authority.substr(close + 1);
    return rest.empty() || (rest.front() == ':' && is_valid_port(rest.substr(1)));
  }
  const std::size_t colon = authority.find(':');
  const std::string_view host = authority.substr(0, colon);
  if (host.empty()) return false;
  for (const char c : host) {
    if (!is_host_character(c)) return false;
  }
  return colon == std::string_view::npos || is_valid_port(authority.substr(colon + 1));
}

Authority split_authority(std::string_view authority) {
  Authority parts;
  std::string_view port;
  if (!authority.empty() && authority.front() == '[') {
    const std::size_t close = authority.find(']');
    parts.host = authority.substr(1, close - 1);
    if (close + 2 <= authority.size()) port = authority.substr(close + 2);
  } else {
    const std::size_t colon = authority.find(':');
    parts.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  if (const auto value = parse_decimal(port)) parts.port = static_cast<std::uint16_t>(*value);
  return parts;
}

bool next_list_element(std::string_view& rest, std::string_view& element) {
  if (rest.data() == nullptr) return false;
  const std::size_t comma = rest.find(',');
  element = trim_whitespace(rest.substr(0, comma));
  rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  return true;
}

}  // namespace pillion::http1
