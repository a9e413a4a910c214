// The encoder's inner loop, once per instruction set; kernel_for_this_cpu() chooses at start.
#pragma once

#include "adapters/logs/encode/state.h"

namespace pillion::logs {

struct Kernel {
  const char* name;  // "avx2", "baseline"
  // Encodes the complete lines of [begin, end), which starts at `offset` of its file, until the
  // buffer holds `buffer_bytes_max`. Returns the end of the last line taken. kScanPadding bytes
  // must be readable behind `end`.
  const char* (*encode_lines)(EncodeState& state, const char* begin, const char* end,
                              std::uint64_t offset, RecordBuffer& buffer,
                              std::size_t buffer_bytes_max);
  // Of a CRI source: writes the records of several lines that wait for more of them.
  void (*flush_groups)(EncodeState& state, RecordBuffer& buffer);
};

extern const Kernel kBaselineKernel;
#if defined(__x86_64__) && !defined(__clang__)
#define PILLION_LOGS_HAS_AVX2 1
extern const Kernel kAvx2Kernel;
#endif

const Kernel& kernel_for_this_cpu();

}  // namespace pillion::logs
