#include "proxy/rules/path.h"

#include <vector>

namespace pillion::proxy {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Whether a decoded character could end or change a segment for one reader and not for another.
bool is_ambiguous(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == '/' || c == '\\' || c == '%' || byte < 0x20 || byte == 0x7f;
}

// False when it is ambiguous.
bool append_segment(std::string_view segment, std::vector<std::string>& segments) {
  std::string text;
  bool has_parameters = false;
  for (std::size_t i = 0; i < segment.size() && !has_parameters; ++i) {
    char c = segment[i];
    if (c == '%') {
      const int high = i + 1 < segment.size() ? hex_digit(segment[i + 1]) : -1;
      const int low = i + 2 < segment.size() ? hex_digit(segment[i + 2]) : -1;
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
      if (is_ambiguous(c) || c == ';') return false;
    } else if (c == ';') {
      has_parameters = true;
      continue;
    } else if (is_ambiguous(c)) {
      return false;
    }
    text.push_back(c);
  }
  if (text == "." || text == "..") {
    if (has_parameters) return false;
    if (text == ".") return true;
    if (segments.empty()) return false;
    segments.pop_back();
    return true;
  }
  if (!text.empty()) segments.push_back(std::move(text));
  return true;
}

std::string_view without_last_slash(std::string_view path) {
  return path.size() > 1 && path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

}  // namespace

std::optional<std::string> normalise_path(std::string_view path) {
  path = path.substr(0, path.find('?'));
  if (path == "*") return std::string(path);
  if (!path.starts_with('/')) return std::nullopt;
  std::vector<std::string> segments;
  std::string_view rest = path;
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::size_t end = rest.find('/');
    if (!append_segment(rest.substr(0, end), segments)) return std::nullopt;
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end);
  }
  std::string normalised;
  for (const std::string& segment : segments) normalised.append(1, '/').append(segment);
  if (normalised.empty() || path.ends_with('/')) normalised.append(1, '/');
  return normalised;
}

bool matches_path(std::string_view pattern, std::string_view normalised) {
  if (!pattern.ends_with("/*")) {
    return without_last_slash(pattern) == without_last_slash(normalised);
  }
  const std::string_view prefix = pattern.substr(0, pattern.size() - 1);  // with its slash
  return normalised.starts_with(prefix) || normalised == without_last_slash(prefix);
}

}  // namespace pillion::proxy
