// The timer wheel, with time as an argument.
#include "proxy/timer_wheel.h"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

using namespace pillion::proxy;

namespace {

struct Recorder final : Deadline {
  void on_deadline(Milliseconds now) override {
    fired_at.push_back(now);
    if (again > 0) wheel->arm(*this, now + again);
  }
  std::vector<Milliseconds> fired_at;
  TimerWheel* wheel = nullptr;
  Milliseconds again = 0;
};

// Moves time as a worker does: from wake-up to wake-up.
void run_until(TimerWheel& wheel, Milliseconds& now, Milliseconds end) {
  while (now < end) {
    const auto next = wheel.next_wakeup();
    now = next && *next < end ? std::max(*next, now + 1) : end;
    wheel.advance(now);
  }
}

}  // namespace

TEST_CASE("a deadline fires late by a tick at most, and never early") {
  for (const Milliseconds delay : {0, 1, 49, 50, 51, 1000, 49'000, 51'200, 60'000, 3'600'000}) {
    Milliseconds now = 12'345;
    TimerWheel wheel(now);
    Recorder recorder;
    wheel.arm(recorder, now + delay);
    run_until(wheel, now, 12'345 + delay + 200);
    REQUIRE(recorder.fired_at.size() == 1);
    CHECK(recorder.fired_at[0] >= 12'345 + delay);
    CHECK(recorder.fired_at[0] <= 12'345 + delay + 2 * TimerWheel::kTickMilliseconds);
    CHECK_FALSE(wheel.next_wakeup());
  }
}

TEST_CASE("a deadline can move later, earlier and away") {
  Milliseconds now = 0;
  TimerWheel wheel(now);
  Recorder later, earlier, away;
  wheel.arm(later, 100);
  wheel.arm(later, 5'000);
  wheel.arm(earlier, 5'000);
  wheel.arm(earlier, 100);
  wheel.arm(away, 100);
  wheel.disarm(away);
  CHECK_FALSE(away.is_armed());
  run_until(wheel, now, 1'000);
  CHECK(later.fired_at.empty());
  CHECK(earlier.fired_at.size() == 1);
  CHECK(away.fired_at.empty());
  run_until(wheel, now, 6'000);
  CHECK(later.fired_at.size() == 1);
}

TEST_CASE("a deadline armed from its own callback fires again, however far") {
  Milliseconds now = 0;
  TimerWheel wheel(now);
  Recorder recorder;
  recorder.wheel = &wheel;
  recorder.again = 51'200;
  wheel.arm(recorder, 10);
  run_until(wheel, now, 200'000);
  CHECK(recorder.fired_at.size() == 4);
}

TEST_CASE("a destroyed deadline leaves the wheel") {
  Milliseconds now = 0;
  TimerWheel wheel(now);
  auto first = std::make_unique<Recorder>();
  auto second = std::make_unique<Recorder>();
  wheel.arm(*first, 100);
  wheel.arm(*second, 100);
  first.reset();
  run_until(wheel, now, 500);
  CHECK(second->fired_at.size() == 1);
}

TEST_CASE("time that jumps far runs what is due") {
  TimerWheel wheel(0);
  Recorder near, far;
  wheel.arm(near, 1'000);
  wheel.arm(far, 10'000'000);
  wheel.advance(500'000);
  CHECK(near.fired_at.size() == 1);
  CHECK(far.fired_at.empty());
}
