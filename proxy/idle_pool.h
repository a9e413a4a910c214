// Idle connections of one endpoint, most recently used first: the fewest stay warm, and the others
// reach their idle limit and go. Pure: time is an argument, nothing is closed here but by handing
// it back.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "proxy/timer_wheel.h"

namespace pillion::proxy {

template<class T>
class IdlePool {
 public:
  IdlePool(Milliseconds idle_limit, std::size_t size_max)
      : idle_limit_(idle_limit), size_max_(size_max) {}

  std::size_t size() const { return entries_.size(); }

  // Returns the oldest connection when there was no room for one more.
  std::unique_ptr<T> put(std::unique_ptr<T> connection, Milliseconds now) {
    entries_.push_back({std::move(connection), now});
    if (entries_.size() <= size_max_) return nullptr;
    return remove_at(0);
  }

  // The one used last; empty when there is none.
  std::unique_ptr<T> take() {
    if (entries_.empty()) return nullptr;
    std::unique_ptr<T> connection = std::move(entries_.back().connection);
    entries_.pop_back();
    return connection;
  }

  std::unique_ptr<T> remove(const T* connection) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].connection.get() == connection) return remove_at(i);
    }
    return nullptr;
  }

  // One that has been idle for the limit, if any; call until empty.
  std::unique_ptr<T> expire(Milliseconds now) {
    if (entries_.empty() || entries_.front().since + idle_limit_ > now) return nullptr;
    return remove_at(0);
  }

  std::optional<Milliseconds> next_expiry() const {
    if (entries_.empty()) return std::nullopt;
    return entries_.front().since + idle_limit_;
  }

 private:
  struct Entry {
    std::unique_ptr<T> connection;
    Milliseconds since;
  };

  std::unique_ptr<T> remove_at(std::size_t index) {
    std::unique_ptr<T> connection = std::move(entries_[index].connection);
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(index));
    return connection;
  }

  const Milliseconds idle_limit_;
  const std::size_t size_max_;
  std::vector<Entry> entries_;  // oldest first
};

}  // namespace pillion::proxy
