// Time as an argument: code that decides on time takes a Clock, tests drive a ManualClock.
//
// Monotonic time is for intervals (CLOCK_MONOTONIC), boot time for deadlines that must survive
// suspend and a restart of the process (CLOCK_BOOTTIME, persisted beside the boot id), wall time
// for display only.
#pragma once

#include <chrono>

namespace pillion {

using Duration = std::chrono::nanoseconds;
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime now() const = 0;
  virtual Duration boot_time() const = 0;  // since boot, suspend included
  virtual WallTime wall_now() const = 0;
};

class SystemClock final : public Clock {
 public:
  MonotonicTime now() const override;
  Duration boot_time() const override;
  WallTime wall_now() const override;
};

// Stands still until told to move. Starts one hour after boot, on 2024-01-15T14:32:01Z.
class ManualClock final : public Clock {
 public:
  MonotonicTime now() const override { return now_; }
  Duration boot_time() const override { return now_.time_since_epoch(); }
  WallTime wall_now() const override { return wall_now_; }

  void advance(Duration by) {
    now_ += by;
    wall_now_ += by;
  }
  // A step of the wall clock (NTP, an administrator); monotonic time does not move.
  void step_wall(Duration by) { wall_now_ += by; }

 private:
  MonotonicTime now_{std::chrono::hours(1)};
  WallTime wall_now_{std::chrono::seconds(1705329121)};
};

}  // namespace pillion
