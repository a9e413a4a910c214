#include "supervisor/keeper/signal_queue.h"

namespace pillion::keeper {

void SignalQueue::add(int number) {
  for (QueuedSignal& entry : entries_) {
    if (entry.serial != 0) continue;
    entry = QueuedSignal{++last_serial_, number, 0};
    return;
  }
}

QueuedSignal* SignalQueue::next_unsent() {
  QueuedSignal* oldest = nullptr;
  for (QueuedSignal& entry : entries_) {
    if (entry.serial == 0 || entry.is_sent != 0) continue;
    if (oldest == nullptr || entry.serial < oldest->serial) oldest = &entry;
  }
  return oldest;
}

bool SignalQueue::has_unsent() const {
  for (const QueuedSignal& entry : entries_) {
    if (entry.serial != 0 && entry.is_sent == 0) return true;
  }
  return false;
}

void SignalQueue::remove(std::uint64_t serial) {
  for (QueuedSignal& entry : entries_) {
    if (entry.serial == serial) entry = QueuedSignal{};
  }
}

void SignalQueue::mark_all_unsent() {
  for (QueuedSignal& entry : entries_) {
    if (entry.serial != 0) entry.is_sent = 0;
  }
}

void SignalQueue::restore(const QueuedSignal& entry) {
  for (QueuedSignal& free : entries_) {
    if (free.serial != 0) continue;
    free = entry;
    free.is_sent = 0;
    return;
  }
}

}  // namespace pillion::keeper
