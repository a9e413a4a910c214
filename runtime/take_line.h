// Texts line by line: for (; !text.empty();) use(take_line(text));
#pragma once

#include <algorithm>
#include <string_view>

namespace pillion {

// The first line off the front of `text`, without its end (LF or CR LF).
inline std::string_view take_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace pillion
