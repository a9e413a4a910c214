// How many series may still be made: one limit for all inputs together. From one thread.
#pragma once

#include <cstddef>

namespace pillion::metrics {

class SeriesBudget {
 public:
  explicit SeriesBudget(std::size_t max) : max_(max) {}

  // False, and nothing is taken, when there is no room.
  bool take(std::size_t count = 1) {
    if (used_ + count > max_) return false;
    used_ += count;
    return true;
  }
  void give_back(std::size_t count) { used_ -= count; }

  std::size_t used() const { return used_; }
  std::size_t max() const { return max_; }
  std::size_t room() const { return used_ < max_ ? max_ - used_ : 0; }
  // What is there already stays.
  void set_max(std::size_t max) { max_ = max; }

 private:
  std::size_t max_;
  std::size_t used_ = 0;
};

}  // namespace pillion::metrics
