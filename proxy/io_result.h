// What one attempt to read or write came to.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pillion::proxy {

enum class IoStatus : std::uint8_t { Ok, WouldBlock, Eof, Failed };

struct IoResult {
  IoStatus status = IoStatus::Ok;
  std::size_t bytes = 0;
  int error = 0;  // errno when Failed
};

}  // namespace pillion::proxy
