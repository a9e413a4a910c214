// Writes and reads fields of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/),
// which OTLP is made of. A message within a message is put_bytes() of its text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace pillion::protobuf {

inline void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

inline void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_varint(out, field << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

inline void put_number(std::string& out, unsigned field, std::uint64_t value) {
  put_varint(out, field << 3);
  put_varint(out, value);
}

// As an element of a packed field has it, without the field.
inline void append_fixed64(std::string& out, std::uint64_t value) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> 8 * i);
}

inline void put_fixed64(std::string& out, unsigned field, std::uint64_t value) {
  put_varint(out, field << 3 | 1);
  append_fixed64(out, value);
}

// Off the front; what is cut short gives what there is.
inline std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value;
}

// The text of a field whose tag has been taken.
inline std::string_view take_bytes(std::string_view& bytes) {
  const std::size_t length = std::min<std::uint64_t>(take_varint(bytes), bytes.size());
  const std::string_view taken = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return taken;
}

}  // namespace pillion::protobuf
