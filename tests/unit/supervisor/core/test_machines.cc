// Every pair of state and event is decided, in exactly one way.
#include <catch2/catch.hpp>
#include <string>

#include "supervisor/core/child_machine.h"
#include "supervisor/core/service_machine.h"

using namespace pillion::supervisor::core;

namespace {

template<class States, class Events, class Table, class IgnoredList>
void check_all_pairs(const States& states, const Events& events, const Table& table,
                     const IgnoredList& ignored) {
  for (const auto state : states) {
    for (const auto event : events) {
      int rows = 0;
      for (const auto& row : table) rows += row.from == state && row.event == event;
      int reasons = 0;
      for (const auto& entry : ignored) {
        reasons += entry.state == state && entry.events.contains(event);
      }
      INFO(to_string(state) << " × " << to_string(event) << ": " << rows << " rows, " << reasons
                            << " reasons to ignore");
      CHECK(rows + reasons == 1);
    }
  }
}

}  // namespace

TEST_CASE("every pair of child state and event has one row or one reason to be ignored") {
  check_all_pairs(kChildStates, kChildEvents, child_table(), child_ignored());
}

TEST_CASE("every pair of service state and event has one row or one reason to be ignored") {
  check_all_pairs(kServiceStates, kServiceEvents, service_table(), service_ignored());
}

TEST_CASE("every child state can be reached from waiting and leads to rest") {
  for (const ChildState target : kChildStates) {
    bool is_target_of_a_row = target == ChildState::Waiting;
    for (const auto& row : child_table()) is_target_of_a_row |= row.to == target;
    CHECK(is_target_of_a_row);
  }
}

TEST_CASE("a stop and a kill are never ignored while a process may serve") {
  for (const ChildState state : {ChildState::Spawning, ChildState::PostStart, ChildState::Gating,
                                 ChildState::Running, ChildState::Stopping}) {
    CHECK(next(state, ChildEvent::StopTurn) != nullptr);
    CHECK(next(state, ChildEvent::Kill) != nullptr);
  }
}
