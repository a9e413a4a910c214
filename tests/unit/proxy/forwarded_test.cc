// Whom the app is told about, and who is believed.
#include "proxy/forwarded.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;
namespace config = pillion::config;

TEST_CASE("the last elements of a list are those of the nearest proxies") {
  CHECK(last_elements("a, b ,c", 1) == "c");
  CHECK(last_elements("a, b ,c", 2) == "b ,c");
  CHECK(last_elements("a, b ,c", 9) == "a, b ,c");
  CHECK(last_elements("", 1).empty());
  CHECK(last_elements(R"(for="a,b", for="[::1]:1";host="x\",y")", 1) ==
        R"(for="[::1]:1";host="x\",y")");
}

TEST_CASE("an address is told without its port") {
  CHECK(client_ip("10.0.0.1:80") == "10.0.0.1");
  CHECK(client_ip("[2001:db8::1]:443") == "2001:db8::1");
}

TEST_CASE("proxies are trusted by their network") {
  const Address peer(*config::IpAddress::parse("10.1.2.3"), 4000);
  config::ProxyInbound inbound;
  CHECK_FALSE(is_trusted_proxy(inbound, peer));
  inbound.trusted_hops = 1;
  CHECK(is_trusted_proxy(inbound, peer));
  inbound.trusted_proxies = {{*config::IpAddress::parse("10.2.0.0"), 16}};
  CHECK_FALSE(is_trusted_proxy(inbound, peer));
  inbound.trusted_proxies.push_back({*config::IpAddress::parse("10.1.0.0"), 16});
  CHECK(is_trusted_proxy(inbound, peer));
}
