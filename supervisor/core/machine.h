// How a state machine is written down here: one constexpr table of rows {from, event, to, action}
// and one list of pairs that are ignored on purpose. A unit test walks all pairs of states and
// events and fails on one that is neither or both.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace pillion::supervisor::core {

template<class State, class Event, class Effect>
struct Row {
  State from;
  Event event;
  State to;
  Effect effect;
};

// A set of values of a small enumeration.
template<class Event>
struct EventSet {
  std::uint32_t bits = 0;
  constexpr bool contains(Event event) const { return (bits >> static_cast<unsigned>(event)) & 1u; }
};

template<class Event, class... Events>
constexpr EventSet<Event> set_of(Event first, Events... rest) {
  return {((1u << static_cast<unsigned>(first)) | ... | (1u << static_cast<unsigned>(rest)))};
}

// Events that change nothing in `state`, and why that is right.
template<class State, class Event>
struct Ignored {
  State state;
  EventSet<Event> events;
  std::string_view reason;
};

// The row for a pair, null when the pair is ignored.
template<class State, class Event, class Effect>
constexpr const Row<State, Event, Effect>* find_row(
    std::span<const Row<State, Event, Effect>> table, State from, Event event) {
  for (const auto& row : table) {
    if (row.from == from && row.event == event) return &row;
  }
  return nullptr;
}

}  // namespace pillion::supervisor::core
