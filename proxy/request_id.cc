#include "proxy/request_id.h"

#include <openssl/evp.h>
#include <sys/random.h>

#include <cstring>

#include "runtime/result.h"

namespace pillion::proxy {

bool is_valid_request_id(std::string_view value) {
  if (value.empty() || value.size() > 128) return false;
  for (const char c : value) {
    if (c <= 0x20 || c >= 0x7f) return false;
  }
  return true;
}

void RandomSource::fill(std::uint8_t* out, std::size_t size) {
  if (used_ + size > bytes_.size()) {
    std::size_t filled = 0;
    while (filled < bytes_.size()) {
      const ssize_t count = getrandom(bytes_.data() + filled, bytes_.size() - filled, 0);
      if (count > 0) filled += static_cast<std::size_t>(count);
    }
    used_ = 0;
  }
  std::memcpy(out, bytes_.data() + used_, size);
  used_ += size;
}

std::uint64_t RandomSource::next_u64() {
  std::uint64_t value;
  fill(reinterpret_cast<std::uint8_t*>(&value), sizeof value);
  return value;
}

void assign_uuid(RandomSource& random, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::uint8_t bytes[16];
  random.fill(bytes, sizeof bytes);
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  char text[36];
  std::size_t position = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text[position++] = '-';
    text[position++] = kDigits[bytes[i] >> 4];
    text[position++] = kDigits[bytes[i] & 15];
  }
  out.assign(text, sizeof text);
}

void assign_websocket_key(RandomSource& random, std::string& out) {
  std::uint8_t bytes[16];
  random.fill(bytes, sizeof bytes);
  unsigned char text[25];
  EVP_EncodeBlock(text, bytes, sizeof bytes);
  out.assign(reinterpret_cast<const char*>(text), 24);
}

}  // namespace pillion::proxy
