// Whole bodies, compressed at the fastest level: the network is rarely worth more.
#pragma once

#include <string>
#include <string_view>

namespace pillion {

enum class Coding { None, Gzip, Zstd };

std::string compressed(Coding coding, std::string_view text);
// As in Content-Encoding (RFC 9110 §8.4.1, RFC 8878); empty for none.
std::string_view name_of(Coding coding);

}  // namespace pillion
