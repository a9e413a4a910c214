// Names for the numbers that key everything in the core.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pillion::supervisor::core {

// The index of a child in ServicePlan::children; the same for the whole life of a service.
using ChildId = std::size_t;

// Counts the starts of one child, from 1; 0 = never started. What arrives for another generation
// than the current one changes nothing.
using Generation = std::uint64_t;

}  // namespace pillion::supervisor::core
