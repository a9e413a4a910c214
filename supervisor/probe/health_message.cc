#include "supervisor/probe/health_message.h"

#include <cstdint>

namespace pillion::supervisor::probe {
namespace {

constexpr std::size_t kPrefixSize = 5;  // compressed flag, four bytes of length

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

// Takes one off the front; empty when it is cut off or longer than 64 bits.
std::optional<std::uint64_t> take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (bytes.empty()) return std::nullopt;
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

// The value of a field that is not ours.
bool skip_value(std::string_view& bytes, std::uint64_t wire_type) {
  std::uint64_t size = 0;
  switch (wire_type) {
    case 0: return take_varint(bytes).has_value();
    case 1: size = 8; break;
    case 2: {
      const auto length = take_varint(bytes);
      if (!length) return false;
      size = *length;
      break;
    }
    case 5: size = 4; break;
    default: return false;
  }
  if (size > bytes.size()) return false;
  bytes.remove_prefix(static_cast<std::size_t>(size));
  return true;
}

std::optional<std::string_view> unframe(std::string_view body) {
  if (body.size() < kPrefixSize || body[0] != 0) return std::nullopt;
  std::size_t length = 0;
  for (std::size_t i = 1; i < kPrefixSize; ++i) {
    length = length << 8 | static_cast<unsigned char>(body[i]);
  }
  body.remove_prefix(kPrefixSize);
  if (body.size() != length) return std::nullopt;
  return body;
}

}  // namespace

std::string health_request(std::string_view service) {
  std::string message;
  if (!service.empty()) {
    message = '\x0a' + varint(service.size());  // field 1, length-delimited
    message += service;
  }
  std::string framed(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) {
    framed += static_cast<char>(message.size() >> shift & 0xff);
  }
  return framed + message;
}

std::optional<ServingStatus> parse_health_answer(std::string_view body) {
  const auto message = unframe(body);
  if (!message) return std::nullopt;
  std::string_view rest = *message;
  std::uint64_t status = 0;  // what is not sent has its default
  while (!rest.empty()) {
    const auto tag = take_varint(rest);
    if (!tag) return std::nullopt;
    if (*tag != 0x08) {  // field 1, varint
      if (!skip_value(rest, *tag & 7)) return std::nullopt;
      continue;
    }
    const auto value = take_varint(rest);
    if (!value) return std::nullopt;
    status = *value;
  }
  if (status > static_cast<std::uint64_t>(ServingStatus::ServiceUnknown)) return std::nullopt;
  return static_cast<ServingStatus>(status);
}

}  // namespace pillion::supervisor::probe
