// Names for the numbers that key everything in the core.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pillion::supervisor::core {

// The slot of a child: its index in Core::plan().children. A child keeps its slot for the whole
// life of a service, through reloads and restarts of the supervisor; the slot of a child that is
// gone stays empty until one of the same name comes. During a deploy two slots have the app's name;
// the generation tells their processes apart.
using ChildId = std::size_t;

// Counts the starts of one child, from 1; 0 = never started. What arrives for another generation
// than the current one changes nothing.
using Generation = std::uint64_t;

}  // namespace pillion::supervisor::core
