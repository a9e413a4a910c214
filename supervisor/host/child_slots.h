// Which child each slot of the core stands for: at first the children of the accepted file in its
// order, later what reloads and deploys have put there. During a deploy two slots hold the app,
// each with a configuration of its own.
#pragma once

#include <deque>

#include "config/service.h"
#include "supervisor/core/ids.h"

namespace pillion::supervisor::host {

class ChildSlots {
 public:
  explicit ChildSlots(const config::Service& service)
      : children_(service.children.begin(), service.children.end()) {}

  std::size_t size() const { return children_.size(); }
  // Stays where it is, but changes with set().
  const config::Child& at(core::ChildId slot) const { return children_.at(slot); }
  // From now on `slot` stands for `child`; it is the next free slot, or one that exists.
  void set(core::ChildId slot, config::Child child) {
    if (slot >= children_.size()) children_.resize(slot + 1);
    children_[slot] = std::move(child);
  }

 private:
  std::deque<config::Child> children_;  // a deque: references stay good when it grows
};

}  // namespace pillion::supervisor::host
