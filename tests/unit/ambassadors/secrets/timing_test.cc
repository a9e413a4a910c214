// Renewal, refresh, backoff and rate, with a manual clock and seeded randomness.
#include "ambassadors/secrets/timing.h"

#include <catch2/catch.hpp>

using namespace pillion;
using namespace pillion::secrets;
using namespace std::chrono_literals;

TEST_CASE("grace is 10 to 20 percent of the life, and differs between draws") {
  Random random(1);
  Duration least = 1h;
  Duration most = 0s;
  for (int i = 0; i < 1000; ++i) {
    const Duration grace = choose_grace(1h, random);
    least = std::min(least, grace);
    most = std::max(most, grace);
  }
  CHECK(least >= 6min);
  CHECK(most <= 12min);
  CHECK(most - least > 5min);
}

TEST_CASE("a token is renewed after two thirds of what remains and a third of the grace") {
  CHECK(next_renewal(1h, 9min) == 43min);
  CHECK(next_renewal(0s, 0s) == 0s);
}

TEST_CASE("a renewal that grants no more than the grace means the end of life") {
  CHECK(is_at_end_of_life(9min, 9min));
  CHECK(is_at_end_of_life(1s, 9min));
  CHECK_FALSE(is_at_end_of_life(9min + 1s, 9min));
}

TEST_CASE("a year of renewals of a one hour token with a day of maximum life ends in time") {
  Random random(7);
  ManualClock clock;
  for (int day = 0; day < 365; ++day) {
    const Duration grace = choose_grace(1h, random);
    const auto born = clock.now();
    const auto dies = born + 24h;
    auto expires = born + 1h;
    int renewals = 0;
    for (;;) {
      const Duration wait = next_renewal(expires - clock.now(), grace);
      REQUIRE(wait > 0s);
      clock.advance(wait);
      REQUIRE(clock.now() < expires);  // never late
      const Duration granted = std::min<Duration>(1h, dies - clock.now());
      expires = clock.now() + granted;
      ++renewals;
      if (is_at_end_of_life(granted, grace)) break;
    }
    REQUIRE(clock.now() < dies);  // time is left for the next login
    REQUIRE(renewals >= 24);
    REQUIRE(renewals < 60);
  }
}

TEST_CASE("what cannot be renewed is replaced at 80 to 90 percent of its life") {
  Random random(2);
  for (int i = 0; i < 1000; ++i) {
    const Duration wait = next_replacement(100s, random);
    CHECK(wait >= 80s);
    CHECK(wait <= 90s);
  }
}

TEST_CASE("the refresh period varies by a tenth") {
  Random random(3);
  for (int i = 0; i < 1000; ++i) {
    const Duration wait = next_refresh(5min, random);
    CHECK(wait >= 270s);
    CHECK(wait <= 330s);
  }
}

TEST_CASE(
    "backoff doubles its ceiling up to the maximum and never sleeps less than half the base") {
  Random random(4);
  Backoff backoff(1s, 5min);
  Duration ceiling = 1s;
  Duration total = 0s;
  for (int i = 0; i < 60; ++i) {
    const Duration wait = backoff.next(random);
    CHECK(wait >= 500ms);
    CHECK(wait <= ceiling);
    total += wait;
    ceiling = std::min<Duration>(ceiling * 2, 5min);
  }
  CHECK(total > 1h);  // sixty tries in a row take hours, not seconds
  CHECK(backoff.failures() == 60);
  backoff.reset();
  CHECK(backoff.next(random) <= 1s);
}

TEST_CASE("a backoff with a maximum below its base keeps to the maximum") {
  Random random(4);
  Backoff backoff(1s, 100ms);
  for (int i = 0; i < 100; ++i) CHECK(backoff.next(random) <= 100ms);
}

TEST_CASE("after a 429 the server's wish is kept, with jitter and a limit") {
  Random random(5);
  for (int i = 0; i < 1000; ++i) {
    Backoff backoff(1s, 5min);
    const Duration wait = next_try_after_429(20s, backoff, random);
    CHECK(wait >= 20s);
    CHECK(wait <= 25s);
    CHECK(next_try_after_429(24h, backoff, random) <= 375s);
  }
}

TEST_CASE("the limiter lets a burst through and then one request per interval") {
  RequestLimiter limiter(10, 5);
  ManualClock clock;
  for (int i = 0; i < 5; ++i) CHECK(limiter.take(clock.now()) == 0s);
  const Duration wait = limiter.take(clock.now());
  CHECK(wait > 99ms);
  CHECK(wait < 102ms);
  clock.advance(wait);
  CHECK(limiter.take(clock.now()) == 0s);
  CHECK(limiter.take(clock.now()) > 0s);

  int taken = 0;
  for (int i = 0; i < 10'000; ++i) {
    clock.advance(1ms);
    if (limiter.take(clock.now()) == 0s) ++taken;
  }
  CHECK(taken >= 99);
  CHECK(taken <= 101);
}
