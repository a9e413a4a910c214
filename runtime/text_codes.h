// Text in forms that other programs read.
#pragma once

#include <string>
#include <string_view>

namespace pillion {

// Base 64 with padding (RFC 4648 §4).
std::string base64(std::string_view bytes);
// All but RFC 3986's unreserved characters as %XX (§2.1), and but `/` when it is kept.
std::string percent_encoded(std::string_view text, bool keeps_slashes = false);

}  // namespace pillion
