// Writes fields of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/), which OTLP
// is made of. A message within a message is put_bytes() of its text.
#pragma once

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

}  // namespace pillion::protobuf
