// Request ids: made, kept, refused.
#include "proxy/request_id.h"

#include <catch2/catch.hpp>
#include <regex>
#include <set>

using namespace pillion::proxy;

TEST_CASE("request ids are UUIDs of version 4 and do not repeat") {
  RandomSource random;
  std::set<std::string> seen;
  const std::regex form("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  for (int i = 0; i < 1000; ++i) {
    std::string id;
    assign_uuid(random, id);
    REQUIRE(std::regex_match(id, form));
    REQUIRE(seen.insert(id).second);
  }
}

TEST_CASE("a caller's request id is visible ASCII of at most 128 bytes") {
  CHECK(is_valid_request_id("a"));
  CHECK(is_valid_request_id(std::string(128, 'x')));
  CHECK_FALSE(is_valid_request_id(""));
  CHECK_FALSE(is_valid_request_id(std::string(129, 'x')));
  CHECK_FALSE(is_valid_request_id("a b"));
  CHECK_FALSE(is_valid_request_id("a\x7f"));
  CHECK_FALSE(is_valid_request_id("\xc3\xa4"));
}
