#include "proxy/shedding.h"

#include <algorithm>

namespace pillion::proxy {

std::vector<MemoryHolder> choose_largest(std::vector<MemoryHolder> holders, std::size_t wanted) {
  std::erase_if(holders, [](const MemoryHolder& one) { return one.bytes < kHoldingMin; });
  std::sort(holders.begin(), holders.end(),
            [](const MemoryHolder& a, const MemoryHolder& b) { return a.bytes > b.bytes; });
  std::size_t count = 0;
  for (std::size_t found = 0; count < holders.size() && found < wanted; ++count) {
    found += holders[count].bytes;
  }
  holders.resize(count);
  return holders;
}

}  // namespace pillion::proxy
