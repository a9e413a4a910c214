// Deadlines of thousands of connections for next to nothing: moving one later is a store, moving it
// earlier relinks a list node. Resolution is one tick (50 ms), always late, never early. Time comes
// in as an argument; nothing here asks a clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace pillion::proxy {

using Milliseconds = std::int64_t;  // monotonic, since an arbitrary start

class TimerWheel;

// Base of what has a deadline. Leaving the wheel on destruction is automatic.
class Deadline {
 public:
  Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  virtual ~Deadline() { unlink(); }

  virtual void on_deadline(Milliseconds now) = 0;
  bool is_armed() const { return when_ != kNever; }

 private:
  friend class TimerWheel;
  static constexpr Milliseconds kNever = INT64_MAX;
  void unlink();

  Deadline* previous_ = nullptr;
  Deadline* next_ = nullptr;
  TimerWheel* wheel_ = nullptr;  // set while linked
  Milliseconds when_ = kNever;
  std::int64_t tick_ = 0;  // where it is linked; never after when_
};

class TimerWheel {
 public:
  static constexpr Milliseconds kTickMilliseconds = 50;

  explicit TimerWheel(Milliseconds now) : tick_(now / kTickMilliseconds) {}
  ~TimerWheel();

  void arm(Deadline& deadline, Milliseconds when);
  // The node stays linked and is dropped when its tick comes: cheaper than unlinking.
  void disarm(Deadline& deadline) { deadline.when_ = Deadline::kNever; }

  // Runs what is due. Callbacks may arm, disarm and destroy deadlines.
  void advance(Milliseconds now);
  // When advance() has something to do; nullopt when nothing is linked.
  std::optional<Milliseconds> next_wakeup() const;

 private:
  friend class Deadline;
  static constexpr std::size_t kSlots = 1024;  // 51 s; farther deadlines come round again

  void link(Deadline& deadline, std::int64_t tick);
  void run_slot(Milliseconds now);

  std::array<Deadline*, kSlots> slots_{};
  std::array<std::uint64_t, kSlots / 64> occupied_{};
  std::int64_t tick_;  // every slot before it has run
  std::size_t linked_ = 0;
};

}  // namespace pillion::proxy
