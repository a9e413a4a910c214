// X-Request-ID: what a caller may send, and new ones (UUID version 4, RFC 9562 §5.4); and other
// random words.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pillion::proxy {

// 1 to 128 visible ASCII characters.
bool is_valid_request_id(std::string_view value);

// Random bytes from the kernel, fetched in batches. One per worker.
class RandomSource {
 public:
  void fill(std::uint8_t* out, std::size_t size);
  std::uint64_t next_u64();

 private:
  std::array<std::uint8_t, 4096> bytes_;
  std::size_t used_ = sizeof bytes_;
};

void assign_uuid(RandomSource& random, std::string& out);
// 16 random bytes in base64, as a client of WebSocket makes them (RFC 6455 §4.1).
void assign_websocket_key(RandomSource& random, std::string& out);

}  // namespace pillion::proxy
