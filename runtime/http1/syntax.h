// Character classes and small grammar rules that HTTP/1 shares: RFC 9110 §5.6 and RFC 9112 §2.2.
// Pure functions over views; nothing here allocates, and nothing accepts more than the grammar
// does.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pillion::http1 {

namespace internal {
inline constexpr std::uint8_t kTokenBit = 1;   // tchar, RFC 9110 §5.6.2
inline constexpr std::uint8_t kTargetBit = 2;  // what may stand in a request target
inline constexpr std::uint8_t kHostBit = 4;    // what may stand in a registered name
extern const std::array<std::uint8_t, 256> kCharacterClasses;
}  // namespace internal

inline bool is_token_character(char c) {
  return (internal::kCharacterClasses[static_cast<std::uint8_t>(c)] & internal::kTokenBit) != 0;
}
inline bool is_target_character(char c) {
  return (internal::kCharacterClasses[static_cast<std::uint8_t>(c)] & internal::kTargetBit) != 0;
}
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
// The value of one hexadecimal digit, -1 when it is none.
int hex_digit(char c);

bool is_token(std::string_view text);  // false for the empty string

// ASCII case folded; `lower` must already be in lower case.
bool equals_ignoring_case(std::string_view text, std::string_view lower);
bool starts_with_ignoring_case(std::string_view text, std::string_view lower);
void fold_case(char* text, std::size_t size);  // in place

// Without SP and HTAB at both ends (OWS, RFC 9110 §5.6.3).
std::string_view trim_whitespace(std::string_view text);

// Digits only, no sign, no blanks; nullopt beyond 2^63-1.
std::optional<std::uint64_t> parse_decimal(std::string_view digits);

// The first byte in [begin, end) that may not stand in a field value (RFC 9110 §5.5): a control
// other than HTAB, or DEL. `end` when there is none. CR and LF are such bytes, so it also finds
// the end of a line.
const char* find_value_end(const char* begin, const char* end);

// uri-host [ ":" port ], RFC 9112 §3.2; the empty host is refused (RFC 9110 §4.2.1).
bool is_valid_authority(std::string_view authority);

struct Authority {
  std::string_view host;  // an IPv6 address without its brackets
  std::optional<std::uint16_t> port;
};
// For an authority that is_valid_authority accepts.
Authority split_authority(std::string_view authority);

// Walks a comma-separated list; empty elements are returned as such, so that strict callers can
// refuse them. `rest` is advanced; false at the end.
bool next_list_element(std::string_view& rest, std::string_view& element);

}  // namespace pillion::http1
