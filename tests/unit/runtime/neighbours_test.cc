// The file by which a proxy knows the other services of its host.
#include "runtime/neighbours.h"

#include <catch2/catch.hpp>

using namespace pillion;

TEST_CASE("what is written is read again", "[neighbours]") {
  const std::vector<Neighbour> neighbours = {
      {"orders",
       kNeighbourAddressFirst,
       NeighbourState::Running,
       {{8080, "http", "127.0.0.1", 18080}, {8443, "tls", "::1", 18443}}},
      {"users", kNeighbourAddressLast, NeighbourState::Stopped, {}},
      {"billing", kNeighbourAddressFirst + 1, NeighbourState::Denied, {}},
      {"mail", kNeighbourAddressFirst + 2, NeighbourState::Distant, {}}};
  const std::string text = render_neighbours(neighbours);
  CHECK(text ==
        "orders 240.240.128.1 running 8080/http=127.0.0.1:18080 8443/tls=[::1]:18443\n"
        "users 240.240.255.254 stopped\n"
        "billing 240.240.128.2 denied\n"
        "mail 240.240.128.3 distant\n");
  CHECK(parse_neighbours(text) == neighbours);
}

TEST_CASE("lines and ports that are none are left out", "[neighbours]") {
  for (const char* line : {"", "orders", "orders 240.240.130.7", "orders 240.240.130.7 gone",
                           "orders 10.0.0.1 running", "orders 240.240.0.1 running",
                           "ORDERS 240.240.130.7 running", " 240.240.130.7 running"}) {
    CAPTURE(line);
    CHECK(parse_neighbours(line).empty());
  }
  const auto parsed = parse_neighbours(
      "orders 240.240.130.7 running 0/http=127.0.0.1:1 1/http=127.0.0.1:0 1/http=host:2 "
      "70000/http=127.0.0.1:1 8080 8080/=127.0.0.1 9/tcp=127.0.0.1:19");
  REQUIRE(parsed.size() == 1);
  CHECK(parsed[0].ports == std::vector<NeighbourPort>{{9, "tcp", "127.0.0.1", 19}});
}
