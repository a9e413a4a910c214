// Other services of the same host, as the supervisor tells its proxy about them: a file of one line
// per service, written whole and replaced atomically, followed by the proxy.
//
//   orders 240.240.130.7 running 8080/http=127.0.0.1:18080 8443/tls=127.0.0.1:18443
//   users 240.240.201.44 stopped
//
// The address is virtual: it means something to capture only. Names have a second form with the
// suffix ".pillion.internal".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pillion {

inline constexpr std::string_view kNeighbourSuffix = ".pillion.internal";
// Half of 240.240.0.0/16, whose other half is for configured upstreams. Host order.
inline constexpr std::uint32_t kNeighbourAddressFirst = 0xf0f08001;  // 240.240.128.1
inline constexpr std::uint32_t kNeighbourAddressLast = 0xf0f0fffe;   // 240.240.255.254

enum class NeighbourState {
  Running,
  Stopped,  // was there, and is not now
  Denied,   // ours is not among the services that may call it
  Distant   // what it publishes is on an address that the proxy's network cannot reach
};

struct NeighbourPort {
  std::uint16_t port = 0;  // that the app calls
  std::string protocol;    // of config::ProxyProtocol
  std::string address;     // where the proxy finds it, a number
  std::uint16_t address_port = 0;
  bool operator==(const NeighbourPort&) const = default;
};

struct Neighbour {
  std::string name;
  std::uint32_t address = 0;  // host order
  NeighbourState state = NeighbourState::Stopped;
  std::vector<NeighbourPort> ports;
  bool operator==(const Neighbour&) const = default;
};

std::string render_neighbours(const std::vector<Neighbour>& neighbours);
// What is no such line is left out: a newer supervisor may have more to say.
std::vector<Neighbour> parse_neighbours(std::string_view text);

// "240.240.130.7"
std::string neighbour_address_text(std::uint32_t address);

}  // namespace pillion
