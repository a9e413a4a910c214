#include "adapters/metrics/model/name_glob.h"

namespace pillion::metrics {
namespace {

// On a mismatch the last star takes one byte more. Stars before it need no second chance: what is
// between two stars is found as early as possible, and that leaves the later ones most room.
bool matches(std::string_view glob, std::string_view name, bool crosses_dots,
             std::vector<std::string_view>* captures) {
  constexpr auto kNone = std::string_view::npos;
  std::size_t g = 0;
  std::size_t n = 0;
  std::size_t star = kNone;  // place of the last star in `glob`
  std::size_t start = 0;     // where its text begins in `name`
  std::size_t end = 0;       // and ends
  const auto keep = [&] {
    if (captures != nullptr && star != kNone) captures->push_back(name.substr(start, end - start));
  };
  while (n < name.size() || g < glob.size()) {
    if (g < glob.size() && glob[g] == '*') {
      keep();
      star = g++;
      start = end = n;
    } else if (g < glob.size() && n < name.size() && glob[g] == name[n]) {
      ++g;
      ++n;
    } else {
      const bool can_grow =
          star != kNone && end < name.size() && (crosses_dots || name[end] != '.');
      if (!can_grow) return false;
      n = ++end;
      g = star + 1;
    }
  }
  keep();
  return true;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

bool matches_glob(std::string_view glob, std::string_view name,
                  std::vector<std::string_view>& captures) {
  captures.clear();
  return matches(glob, name, false, &captures);
}

bool matches_whole_glob(std::string_view glob, std::string_view name) {
  return matches(glob, name, true, nullptr);
}

std::string expand_captures(std::string_view text, const std::vector<std::string_view>& captures) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size() || !is_digit(text[i + 1])) {
      out += text[i];
      continue;
    }
    std::size_t number = 0;
    while (i + 1 < text.size() && is_digit(text[i + 1]) && number < 1000) {
      number = number * 10 + static_cast<std::size_t>(text[++i] - '0');
    }
    if (number >= 1 && number <= captures.size()) out += captures[number - 1];
  }
  return out;
}

}  // namespace pillion::metrics
