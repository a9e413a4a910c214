// A timer for deadlines that must hold through a suspended laptop or a paused machine: it compares
// with the time since boot, suspend included, at least once a minute.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include "runtime/clock.h"
#include "runtime/loop.h"

namespace pillion::secrets {

class Alarm {
 public:
  // `clock` must outlive it.
  Alarm(Loop& loop, const Clock& clock) : clock_(clock), timer_(loop) {}

  // Replaces what was set. Never fires before this returns. May be set again from `on_due`.
  void set(Duration delay, std::function<void()> on_due) {
    due_ = clock_.boot_time() + delay;
    on_due_ = std::move(on_due);
    wait();
  }
  void stop() { timer_.stop(); }
  bool is_set() const { return timer_.is_active(); }
  Duration remaining() const { return std::max(Duration::zero(), due_ - clock_.boot_time()); }

 private:
  void wait() {
    timer_.start(std::min<Duration>(remaining(), std::chrono::minutes(1)), [this] {
      if (remaining() > Duration::zero()) return wait();
      const auto on_due = on_due_;  // a copy: it may set the alarm again
      on_due();
    });
  }

  const Clock& clock_;
  Timer timer_;
  Duration due_{};
  std::function<void()> on_due_;
};

}  // namespace pillion::secrets
