// Globs over dotted names, as mapping rules use them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pillion::metrics {

// `*` matches any bytes but dots. Each star's text goes to `captures`. Time is bounded by the
// product of both lengths.
bool matches_glob(std::string_view glob, std::string_view name,
                  std::vector<std::string_view>& captures);

// The same where `*` matches everything.
bool matches_whole_glob(std::string_view glob, std::string_view name);

// Replaces $1, $2 and so on; one that was not captured becomes nothing.
std::string expand_captures(std::string_view text, const std::vector<std::string_view>& captures);

}  // namespace pillion::metrics
