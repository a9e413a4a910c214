// Which exchanges and relays end while memory is scarce: those that hold most of it, usually
// because their peers do not read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pillion::proxy {

class Exchange;
class TcpRelay;

struct Shedding {
  std::size_t excess = 0;       // bytes that a worker should give back by ending what holds them
  std::size_t held_min = 0;     // unless these hold less than this in all
  bool counts_sockets = false;  // what the kernel holds to be sent, too
};

// One of the two is null.
struct MemoryHolder {
  std::size_t bytes = 0;
  Exchange* exchange = nullptr;
  std::uint64_t exchange_id = 0;  // Exchange::id()
  TcpRelay* relay = nullptr;
};

// What holds less is not worth its end.
constexpr std::size_t kHoldingMin = 16 * 1024;

// The largest of at least kHoldingMin bytes that hold `wanted` together, or all of these.
std::vector<MemoryHolder> choose_largest(std::vector<MemoryHolder> holders, std::size_t wanted);

}  // namespace pillion::proxy
