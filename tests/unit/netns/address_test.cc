// Addresses and ranges: parsing, printing, arithmetic, overlap.
#include "netns/address.h"

#include <catch2/catch.hpp>

namespace pillion::netns {

TEST_CASE("addresses are printed as they are parsed") {
  for (const char* text : {"10.213.0.1", "255.255.255.255", "::", "::6", "fd70:696c:6c69:1::2"}) {
    CHECK(parse_address(text)->text() == text);
  }
}

TEST_CASE("what is not a plain address is refused") {
  for (const char* text :
       {"", "10.0.0", "010.0.0.1.2", "localhost", "fe80::1%eth0", "10.0.0.1:80"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_address(text));
  }
}

TEST_CASE("address arithmetic carries over bytes") {
  CHECK(parse_address("10.0.0.255")->plus(1).text() == "10.0.1.0");
  CHECK(parse_address("10.213.0.0")->plus(4 * 16383 + 2).text() == "10.213.255.254");
  CHECK(parse_address("fd00::ffff:ffff")->plus(1).text() == "fd00::1:0:0");
}

TEST_CASE("ranges know what they contain and overlap") {
  const auto pool = *parse_cidr("10.213.0.0/16");
  CHECK(pool.contains(*parse_address("10.213.255.255")));
  CHECK_FALSE(pool.contains(*parse_address("10.214.0.0")));
  CHECK_FALSE(pool.contains(*parse_address("::")));
  CHECK(pool.overlaps(*parse_cidr("10.0.0.0/8")));
  CHECK(pool.overlaps(*parse_cidr("10.213.7.0/30")));
  CHECK_FALSE(pool.overlaps(*parse_cidr("10.212.0.0/16")));
  CHECK(parse_cidr("0.0.0.0/0")->contains(*parse_address("1.2.3.4")));
  CHECK(parse_cidr("192.0.2.77/24")->network().text() == "192.0.2.0/24");
  CHECK(parse_cidr("192.0.2.77")->text() == "192.0.2.77/32");
}

TEST_CASE("ranges with a bad prefix length are refused") {
  CHECK_FALSE(parse_cidr("10.0.0.0/33"));
  CHECK_FALSE(parse_cidr("10.0.0.0/-1"));
  CHECK_FALSE(parse_cidr("10.0.0.0/8x"));
  CHECK(parse_cidr("10.0.0.0/").error().message() ==
        "'10.0.0.0/' is not an address range: the prefix length is 0 to 32");
}

TEST_CASE("loopback and link-local addresses are recognised") {
  CHECK(parse_address("127.0.0.53")->is_loopback());
  CHECK(parse_address("::1")->is_loopback());
  CHECK_FALSE(parse_address("::6")->is_loopback());
  CHECK(parse_address("169.254.169.254")->is_link_local());
  CHECK(parse_address("fe80::1")->is_link_local());
}

}  // namespace pillion::netns
