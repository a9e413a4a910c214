#include "proxy/timer_wheel.h"

#include <algorithm>

namespace pillion::proxy {

void Deadline::unlink() {
  if (wheel_ == nullptr) return;
  const std::size_t slot = static_cast<std::size_t>(tick_) % TimerWheel::kSlots;
  if (previous_ != nullptr) {
    previous_->next_ = next_;
  } else {
    wheel_->slots_[slot] = next_;
    if (next_ == nullptr) wheel_->occupied_[slot / 64] &= ~(1ull << (slot % 64));
  }
  if (next_ != nullptr) next_->previous_ = previous_;
  --wheel_->linked_;
  previous_ = next_ = nullptr;
  wheel_ = nullptr;
}

TimerWheel::~TimerWheel() {
  for (Deadline*& first : slots_) {
    while (first != nullptr) first->unlink();
  }
}

void TimerWheel::arm(Deadline& deadline, Milliseconds when) {
  deadline.when_ = when;
  // Up to the next tick: a deadline never fires early.
  const std::int64_t due = (when + kTickMilliseconds - 1) / kTickMilliseconds;
  if (deadline.wheel_ != nullptr) {
    if (deadline.tick_ <= due) return;  // found too early, and then moved
    deadline.unlink();
  }
  link(deadline, due);
}

void TimerWheel::link(Deadline& deadline, std::int64_t tick) {
  // One slot less than there are: while a slot runs, what is linked again must not land in it.
  const std::int64_t farthest = tick_ + static_cast<std::int64_t>(kSlots) - 2;
  deadline.tick_ = std::clamp(tick, tick_, farthest);
  const std::size_t slot = static_cast<std::size_t>(deadline.tick_) % kSlots;
  deadline.previous_ = nullptr;
  deadline.next_ = slots_[slot];
  if (deadline.next_ != nullptr) deadline.next_->previous_ = &deadline;
  slots_[slot] = &deadline;
  occupied_[slot / 64] |= 1ull << (slot % 64);
  deadline.wheel_ = this;
  ++linked_;
}

// Runs the slot of tick_, which is over: what is linked again now goes to a later tick.
void TimerWheel::run_slot(Milliseconds now) {
  const std::size_t slot = static_cast<std::size_t>(tick_) % kSlots;
  ++tick_;
  while (Deadline* deadline = slots_[slot]) {
    deadline->unlink();
    if (deadline->when_ == Deadline::kNever) continue;
    if (deadline->when_ > now) {
      link(*deadline, (deadline->when_ + kTickMilliseconds - 1) / kTickMilliseconds);
      continue;
    }
    deadline->when_ = Deadline::kNever;
    deadline->on_deadline(now);
  }
}

void TimerWheel::advance(Milliseconds now) {
  const std::int64_t last = now / kTickMilliseconds;
  if (linked_ == 0) {
    tick_ = std::max(tick_, last);
    return;
  }
  while (tick_ <= last) run_slot(now);
}

std::optional<Milliseconds> TimerWheel::next_wakeup() const {
  if (linked_ == 0) return std::nullopt;
  for (std::size_t step = 0; step < kSlots;) {
    const std::size_t slot = (static_cast<std::size_t>(tick_) + step) % kSlots;
    const std::uint64_t bits = occupied_[slot / 64] >> (slot % 64);
    if (bits != 0) {
      step += static_cast<std::size_t>(__builtin_ctzll(bits));
      return (tick_ + static_cast<std::int64_t>(step)) * kTickMilliseconds;
    }
    step += 64 - slot % 64;
  }
  return std::nullopt;
}

}  // namespace pillion::proxy
