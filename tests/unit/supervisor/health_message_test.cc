// The bytes of grpc.health.v1, as its documents give them.
#include "supervisor/probe/health_message.h"

#include <catch2/catch.hpp>

using namespace pillion::supervisor::probe;
using namespace std::string_literals;

TEST_CASE("a health request is one framed message with the service's name") {
  CHECK(health_request("") == "\0\0\0\0\0"s);
  CHECK(health_request("shop.Orders") == "\0\0\0\0\x0d\x0a\x0bshop.Orders"s);
  const std::string name(200, 'x');
  CHECK(health_request(name) == "\0\0\0\0\xcb\x0a\xc8\x01"s + name);
}

TEST_CASE("a health answer says its status") {
  CHECK(parse_health_answer("\0\0\0\0\x02\x08\x01"s) == ServingStatus::Serving);
  CHECK(parse_health_answer("\0\0\0\0\x02\x08\x02"s) == ServingStatus::NotServing);
  CHECK(parse_health_answer("\0\0\0\0\x02\x08\x03"s) == ServingStatus::ServiceUnknown);
  CHECK(parse_health_answer("\0\0\0\0\0"s) == ServingStatus::Unknown);
  // A later value wins; fields of a later protocol are skipped.
  CHECK(parse_health_answer("\0\0\0\0\x0d\x08\x02\x12\x01x\x1d\0\0\0\0\x08\x81\0"s) ==
        ServingStatus::Serving);
}

TEST_CASE("what is no health answer is not taken for one") {
  CHECK_FALSE(parse_health_answer(""));
  CHECK_FALSE(parse_health_answer("\0\0\0\0"s));
  CHECK_FALSE(parse_health_answer("\0\0\0\0\x03\x08\x01"s));    // cut off
  CHECK_FALSE(parse_health_answer("\0\0\0\0\x01\x08\x01"s));    // more than it says
  CHECK_FALSE(parse_health_answer("\x01\0\0\0\x02\x08\x01"s));  // compressed
  CHECK_FALSE(parse_health_answer("\0\0\0\0\x02\x08\x04"s));
  CHECK_FALSE(parse_health_answer("\0\0\0\0\x01\x08"s));
  CHECK_FALSE(parse_health_answer("\0\0\0\0\x02\x12\x7f"s));
  CHECK_FALSE(parse_health_answer("\0\0\0\0\x02\x0b\x01"s));  // a group
  CHECK_FALSE(parse_health_answer("\0\0\0\0\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s));
}
