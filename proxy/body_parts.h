// A piece of a body on its way: views into what was read, with room around them for framing, so
// that all of it goes out in one write.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "runtime/http1/chunked.h"

namespace pillion::proxy {

// The first two places are for a head and for a chunk's size line, the last two for what follows.
struct BodyParts {
  static constexpr std::size_t kFree = 2;
  static constexpr std::size_t kSpansMax = 60;

  std::array<iovec, kFree + kSpansMax + 2> parts;
  std::size_t first = kFree;
  std::size_t count = kFree;
  std::size_t data_bytes = 0;
  bool is_done = false;    // the body is complete
  bool is_failed = false;  // its chunks are malformed
  bool has_more = false;   // there was no room for all of it
  char size_line[http1::kChunkSizeLineMax];

  BodyParts() {}  // `parts` stays uninitialised: it is large, and filled before it is read
  void add(std::string_view bytes) {
    parts[count++] = {const_cast<char*>(bytes.data()), bytes.size()};
  }
  void add_data(std::string_view bytes) {
    add(bytes);
    data_bytes += bytes.size();
  }
  void prepend(std::string_view bytes) {
    parts[--first] = {const_cast<char*>(bytes.data()), bytes.size()};
  }
  void wrap_in_chunk() {
    if (data_bytes == 0) return;
    prepend({size_line, http1::write_chunk_size(size_line, data_bytes)});
    add("\r\n");
  }
  bool has_room() const { return count < kFree + kSpansMax; }
  bool has_parts() const { return count > first; }
  iovec* begin() { return parts.data() + first; }
  std::size_t size() const { return count - first; }
};

}  // namespace pillion::proxy
