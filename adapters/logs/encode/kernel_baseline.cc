// The inner loops for every CPU of the architecture: SSE2 on x86-64, plain code elsewhere.
#include "adapters/logs/encode/kernel.h"

#define PILLION_LOGS_ISA baseline
#include "adapters/logs/encode/kernel_encode.h"

namespace pillion::logs {

const Kernel kBaselineKernel{"baseline", baseline::encode_lines, baseline::flush_groups};

}  // namespace pillion::logs
