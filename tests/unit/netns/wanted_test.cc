// The wanted document and the facts: JSON in and out, errors by key, names.
#include "netns/wanted.h"

#include <catch2/catch.hpp>

#include "netns/facts.h"

namespace pillion::netns {
namespace {

std::string error_of(std::string_view json) {
  auto parsed = parse_wanted(json);
  return parsed ? "" : parsed.error().message();
}

}  // namespace

TEST_CASE("a wanted document keeps its meaning through JSON") {
  Wanted wanted;
  wanted.service = "order-processor";
  wanted.intercept.inbound_ports = {8080, 8443};
  wanted.intercept.inbound_method = InboundMethod::Tproxy;
  wanted.intercept.exclude_outbound_cidrs = {*parse_cidr("169.254.169.254/32")};
  wanted.intercept.exclude_outbound_ports = {{5432, 5432}, {8000, 8010}};
  wanted.intercept.include_outbound_cidrs = {*parse_cidr("10.0.0.0/8")};
  wanted.ipv6 = false;
  wanted.intercept.exempt_uids = {1338, 1339};
  wanted.publish = {{"127.0.0.1", 5353, 53, Transport::Udp, true}};
  wanted.aliases = {{"240.240.0.1", {"user-service", "users"}}};
  wanted.dns.nameservers = {"192.0.2.53"};
  auto parsed = parse_wanted(wanted_to_json(wanted));
  REQUIRE(parsed);
  CHECK(*parsed == wanted);
}

TEST_CASE("a wanted document needs only the service's name") {
  auto parsed = parse_wanted(R"({"service": "orders"})");
  REQUIRE(parsed);
  CHECK(parsed->mode == Mode::Bridged);
  CHECK(parsed->pool.text() == "10.213.0.0/16");
  CHECK(parsed->intercept.proxy_uid == 1337);
}

TEST_CASE("mistakes in a wanted document name the key") {
  CHECK(error_of("{") == "the input is not valid JSON");
  CHECK(error_of("[]") == "the document must be an object");
  CHECK(error_of(R"({"service":"a","intercpt":{}})") == "intercpt is not a known key");
  CHECK(error_of(R"({"service":"a","intercept":{"inbound_ports":[80,70000]}})") ==
        "intercept.inbound_ports must be a list of integers from 1 to 65535");
  CHECK(error_of(R"({"service":"a","publish":[{"host_port":80}]})") ==
        "publish[0].port is missing");
  CHECK(error_of(R"({"service":"a","mode":"open"})") ==
        "mode must be one of: bridged sealed host join");
  CHECK(error_of(R"({"service":"a","mode":"join"})") ==
        "join must name a namespace when the mode is join");
  CHECK(error_of(R"({"service":"a","pool":"10.0.0.0/31"})") ==
        "pool must be an IPv4 range of /30 or larger");
  CHECK(error_of(R"({"service":"a","aliases":[{"address":"::1","names":["b\n192.0.2.1 c"]}]})") ==
        "aliases[0].names must be a list of words without blanks");
  CHECK(
      error_of(
          R"({"service":"a","publish":[{"host_address":"::1\u0000 x","host_port":1,"port":1}]})") ==
      "publish[0].host_address must be an IPv4 or IPv6 address");
  CHECK_FALSE(error_of(R"({"service":"../etc"})").empty());
  CHECK_FALSE(error_of(R"({"service":"a\nb"})").empty());
}

TEST_CASE("facts keep their meaning through JSON") {
  Facts facts;
  facts.service = "orders";
  facts.address4 = "10.213.0.2";
  facts.hosts = "127.0.0.1 localhost\n";
  facts.mtu = 1400;
  facts.changed_sysctls = {{"net.ipv4.ip_forward", "0", "1"}};
  facts.warnings = {"first", "second"};
  auto parsed = parse_facts(facts_to_json(facts));
  REQUIRE(parsed);
  CHECK(*parsed == facts);
}

TEST_CASE("names of a service are stable, and short enough for the kernel") {
  const Names names = names_of("order-processor");
  CHECK(names.netns_path == "/run/netns/pillion-order-processor");
  CHECK(names.host_interface == "pilbb687fa2h");
  CHECK(names.host_table == "pillion_order_processor");
  CHECK(names_of(std::string(63, 'x')).host_interface.size() == 12);
}

TEST_CASE("each upstream has a virtual address of its own") {
  CHECK(virtual_address(0).text() == "240.240.0.1");
  CHECK(virtual_address(299).text() == "240.240.1.44");
}

}  // namespace pillion::netns
