// One reading of a request's path, for decisions about it (RFC 3986 §6.2.2): what several readers
// could take for different things has none. The path that is sent on stays as it came.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pillion::proxy {

// Without query: escapes are decoded, dot segments resolved, empty segments and the parameters of
// segments (";…") dropped. Empty for what is ambiguous: an encoded slash, backslash, percent sign
// or control character, a dot segment with parameters, "..": above the root, a broken escape.
std::optional<std::string> normalise_path(std::string_view path);

// `pattern` is "/exact" or "/prefix/*", which "/prefix" is part of. A slash at the end is nothing.
bool matches_path(std::string_view pattern, std::string_view normalised);

}  // namespace pillion::proxy
