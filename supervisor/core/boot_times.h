// Between monotonic times, on which the core works, and times since boot, which outlive a process.
#pragma once

#include <optional>

#include "runtime/clock.h"

namespace pillion::supervisor::core {

class BootTimes {
 public:
  BootTimes(MonotonicTime now, Duration boot_now) : now_(now), boot_now_(boot_now) {}
  Duration to_boot(MonotonicTime time) const { return boot_now_ + (time - now_); }
  MonotonicTime from_boot(Duration time) const { return now_ + (time - boot_now_); }
  std::optional<Duration> to_boot(const std::optional<MonotonicTime>& time) const {
    return time ? std::optional(to_boot(*time)) : std::nullopt;
  }
  std::optional<MonotonicTime> from_boot(const std::optional<Duration>& time) const {
    return time ? std::optional(from_boot(*time)) : std::nullopt;
  }

 private:
  MonotonicTime now_;
  Duration boot_now_;
};

}  // namespace pillion::supervisor::core
