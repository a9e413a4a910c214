// The file of a host's other services: what is read and written again reads the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "runtime/neighbours.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto neighbours = pillion::parse_neighbours({reinterpret_cast<const char*>(data), size});
  if (pillion::parse_neighbours(pillion::render_neighbours(neighbours)) != neighbours) std::abort();
  return 0;
}
