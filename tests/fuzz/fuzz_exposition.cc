// Metrics of children, merged: whatever they say, what comes out is taken by the same parser again,
// sample for sample.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/exposition.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using pillion::MergedExposition;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  MergedExposition merge;
  const auto added = merge.add(text, {{"service", "s"}, {"child", "app"}});
  if (!added) {
    PILLION_ASSERT(merge.render().empty());
    return 0;
  }
  MergedExposition again;
  const auto taken = again.add(merge.render(), {});
  PILLION_ASSERT(taken && taken->samples == added->samples && taken->dropped == 0);
  return 0;
}
