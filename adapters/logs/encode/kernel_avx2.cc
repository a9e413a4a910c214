// The inner loops for CPUs with AVX2 and BMI. The target is set behind every other include, so that
// no inline function of a library is compiled for it and then picked by the linker for everybody.
#include "adapters/logs/encode/field_rules.h"
#include "adapters/logs/encode/kernel.h"
#include "adapters/logs/encode/layout.h"
#include "adapters/logs/encode/named_layouts.h"
#include "adapters/logs/encode/regex_format.h"
#include "adapters/logs/encode/spelled_time.h"
#include "adapters/logs/encode/timestamp.h"

#if defined(PILLION_LOGS_HAS_AVX2)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#define PILLION_LOGS_ISA avx2
#include "adapters/logs/encode/kernel_encode.h"

namespace pillion::logs {

const Kernel kAvx2Kernel{"avx2", avx2::encode_lines, avx2::flush_groups};

}  // namespace pillion::logs
#pragma GCC pop_options
#endif
