// Signals that the keeper got and the supervisor has not yet acknowledged: a stop request must not
// die with the supervisor that was told of it. Fixed capacity, in the order of arrival.
#pragma once

#include <cstdint>

namespace pillion::keeper {

struct QueuedSignal {
  std::uint64_t serial = 0;  // from 1; 0 = free
  std::int32_t number = 0;
  std::int32_t is_sent = 0;  // to the supervisor that runs now
};

class SignalQueue {
 public:
  static constexpr int kCapacity = 64;

  // Forgets a signal that does not fit: so many unread ones say nothing new.
  void add(int number);
  // The oldest signal that the supervisor was not told of, null when there is none.
  QueuedSignal* next_unsent();
  bool has_unsent() const;
  void remove(std::uint64_t serial);
  // A new supervisor has to hear of each again.
  void mark_all_unsent();

  // For a keeper that is executed anew.
  const QueuedSignal* entries() const { return entries_; }
  void restore(const QueuedSignal& entry);
  std::uint64_t last_serial() const { return last_serial_; }
  void set_last_serial(std::uint64_t serial) { last_serial_ = serial; }

 private:
  QueuedSignal entries_[kCapacity];
  std::uint64_t last_serial_ = 0;
};

}  // namespace pillion::keeper
