// Text in forms that other programs read.
#pragma once

#include <string>
#include <string_view>

namespace pillion {

// The value of one hexadecimal digit, -1 when it is none.
constexpr int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Base 64 with padding (RFC 4648 §4).
std::string base64(std::string_view bytes);
// All but RFC 3986's unreserved characters as %XX (§2.1), and but `/` when it is kept.
std::string percent_encoded(std::string_view text, bool keeps_slashes = false);

}  // namespace pillion
