// Worlds in which a bug of the core or of the simulation was found once; they run first, every
// time.
#pragma once

#include <cstdint>

namespace pillion::supervisor::core {

struct KeptSeed {
  std::uint64_t seed;
  bool is_operated;
};

inline constexpr KeptSeed kKeptSeeds[] = {
    {1655, false},
    {1074, false},
    {1000250, false},
    {1000179, false},
    {1004973, false},
    {1028465, false},
    {2031530, false},
    {3399, true},   // a reload that turns two roles round: old
                    // and new plan depend in a circle
    {1625, true},   // a deploy rolled back before the proxy had confirmed that the traffic is back
    {1842, true},   // a restart of the service while the traffic shifts
    {21686, true},  // a start of an init task that has just done its work and is cleared away
    {56810, true},  // killed in a reload that removes an init task, before the file was taken over
    {14082, true},  // an init task that becomes a helper while it runs
    {7415, true},   // a start times out during a stop, its gate opens a moment later
};

}  // namespace pillion::supervisor::core
