#include "proxy/detect.h"

#include <algorithm>
#include <cstddef>

namespace pillion::proxy {
namespace {

constexpr std::size_t kMethodBytesMax = 20;
constexpr std::size_t kLineBytesMax = 16 * 1024;
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n";

bool is_prefix(std::string_view text, std::string_view of) {
  return of.substr(0, text.size()) == text;
}

}  // namespace

Detected detect_protocol(std::string_view first) {
  if (first.empty()) return Detected::Undecided;
  if (first.front() == 0x16) {
    if (first.size() == 1) return Detected::Undecided;
    return first[1] == 0x03 ? Detected::Tls : Detected::Other;
  }
  if (first.substr(0, kPreface.size()) == kPreface) return Detected::Http2;
  if (is_prefix(first, kPreface)) return Detected::Undecided;

  // METHOD SP target SP HTTP/1.x CRLF, the method in capitals as every real one is.
  std::size_t method = 0;
  while (method < first.size() && method <= kMethodBytesMax &&
         ((first[method] >= 'A' && first[method] <= 'Z') || first[method] == '-')) {
    ++method;
  }
  if (method == 0 || method > kMethodBytesMax) return Detected::Other;
  if (method == first.size()) return Detected::Undecided;
  if (first[method] != ' ') return Detected::Other;
  const std::size_t line_end = first.find('\n');
  const std::string_view line = first.substr(0, line_end);
  const bool has_control = std::any_of(line.begin(), line.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\r' && c != '\t';
  });
  if (has_control) return Detected::Other;
  if (line_end == std::string_view::npos) {
    return first.size() > kLineBytesMax ? Detected::Http1 : Detected::Undecided;
  }
  return line.find(" HTTP/1.") != std::string_view::npos ? Detected::Http1 : Detected::Other;
}

}  // namespace pillion::proxy
