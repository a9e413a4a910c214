// How a cluster chooses endpoints.
#include "proxy/cluster.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;
using pillion::config::LoadBalancing;

TEST_CASE("round robin takes one after the other") {
  const std::size_t loads[] = {9, 0, 0};
  CHECK(choose_endpoint(LoadBalancing::RoundRobin, loads, 0, 0, kNoEndpoint) == 1);
  CHECK(choose_endpoint(LoadBalancing::RoundRobin, loads, 2, 0, kNoEndpoint) == 0);
  CHECK(choose_endpoint(LoadBalancing::RoundRobin, loads, 0, 0, 1) == 2);
}

TEST_CASE("least request prefers the less loaded of two") {
  const std::size_t loads[] = {5, 1};
  for (std::uint64_t random = 0; random < 64; ++random) {
    CHECK(choose_endpoint(LoadBalancing::LeastRequest, loads, 0, random << 31 | random,
                          kNoEndpoint) == 1);
  }
}

TEST_CASE("the endpoint that just failed is avoided unless it is the only one") {
  const std::size_t loads[] = {0, 7, 7};
  for (std::uint64_t random = 0; random < 1000; ++random) {
    const std::uint64_t number = random * 0x9e3779b97f4a7c15ull;
    CHECK(choose_endpoint(LoadBalancing::LeastRequest, loads, 0, number, 0) != 0);
    CHECK(choose_endpoint(LoadBalancing::Random, loads, 0, number, 0) != 0);
  }
  const std::size_t one[] = {3};
  CHECK(choose_endpoint(LoadBalancing::Random, one, 0, 0, 0) == 0);
}
