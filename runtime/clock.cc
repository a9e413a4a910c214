#include "runtime/clock.h"

#include <ctime>

namespace pillion {
namespace {

Duration read_clock(clockid_t id) {
  timespec time{};
  clock_gettime(id, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

MonotonicTime SystemClock::now() const { return MonotonicTime(read_clock(CLOCK_MONOTONIC)); }
Duration SystemClock::boot_time() const { return read_clock(CLOCK_BOOTTIME); }
WallTime SystemClock::wall_now() const { return WallTime(read_clock(CLOCK_REALTIME)); }

}  // namespace pillion
