// The cache of DNS answers: time, bounds, and what is not kept.
#include "proxy/dns/cache.h"

#include <catch2/catch.hpp>
#include <string>

#include "proxy/dns/message.h"

using namespace pillion::proxy::dns;
using namespace std::string_literals;

namespace {

std::string answer(std::uint32_t ttl) {
  const std::string query =
      "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x01\x00\x01"s;
  return make_address_answer(query, parse_query(query).query, 1, ttl);
}

}  // namespace

TEST_CASE("an answer is kept for its time, which is counted down") {
  Cache cache;
  cache.put("key", answer(60), 1000);
  const auto found = cache.find("key", 1020);
  REQUIRE(found);
  CHECK(lifetime_of(*found) == 40);
  CHECK(cache.find("key", 1059));
  CHECK_FALSE(cache.find("key", 1060));
  CHECK(cache.size() == 0);
}

TEST_CASE("a later answer replaces the one before, and what may not be kept is not") {
  Cache cache;
  cache.put("key", answer(10), 1000);
  cache.put("key", answer(100), 1005);
  CHECK(cache.size() == 1);
  CHECK(cache.find("key", 1050));
  cache.put("", answer(100), 1000);
  cache.put("zero", answer(0), 1000);
  CHECK(cache.size() == 1);
}

TEST_CASE("the number and the bytes of answers are bounded; the one least used goes first") {
  Cache by_number(2);
  by_number.put("a", answer(60), 1);
  by_number.put("b", answer(60), 1);
  CHECK(by_number.find("a", 2));
  by_number.put("c", answer(60), 2);
  CHECK(by_number.find("a", 2));
  CHECK_FALSE(by_number.find("b", 2));
  Cache by_bytes(100, answer(60).size() * 5);
  for (int i = 0; i < 50; ++i) by_bytes.put(std::to_string(i), answer(60), 1);
  CHECK(by_bytes.size() == 5);
}
