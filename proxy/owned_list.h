// Objects that one owner holds by the thousand, in no order: each knows its place, so that taking
// one out costs no search, and a place costs eight bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace pillion::proxy {

template<class T>
class OwnedList;

// Base of what an OwnedList holds.
class Owned {
 private:
  template<class T>
  friend class OwnedList;
  std::uint32_t place_ = 0;
};

template<class T>
class OwnedList {
 public:
  T& add(std::unique_ptr<T> object) {
    object->place_ = static_cast<std::uint32_t>(objects_.size());
    objects_.push_back(std::move(object));
    return *objects_.back();
  }
  // Null when the list does not hold it (any more).
  std::unique_ptr<T> take(T& object) {
    const std::size_t place = object.place_;
    if (place >= objects_.size() || objects_[place].get() != &object) return nullptr;
    std::unique_ptr<T> taken = std::move(objects_[place]);
    if (place + 1 != objects_.size()) {
      objects_[place] = std::move(objects_.back());
      objects_[place]->place_ = static_cast<std::uint32_t>(place);
    }
    objects_.pop_back();
    return taken;
  }
  std::size_t size() const { return objects_.size(); }
  auto begin() const { return objects_.begin(); }
  auto end() const { return objects_.end(); }

 private:
  std::vector<std::unique_ptr<T>> objects_;
};

}  // namespace pillion::proxy
