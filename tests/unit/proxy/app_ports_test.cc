// The app's ports and their moves.
#include "proxy/app_ports.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;
using pillion::config::InboundPort;

namespace {
std::vector<InboundPort> two_ports() {
  return {InboundPort{"http", 8080, {}, {}}, InboundPort{"admin", 9000, {}, {}}};
}
}  // namespace

TEST_CASE("a port is served where it was moved to, others and unknown ones where they are") {
  const AppPorts ports(two_ports(), {{9000, 19000}, {5432, 15432}});
  CHECK(ports.app_port_of(8080) == 8080);
  CHECK(ports.app_port_of(9000) == 19000);
  CHECK(ports.app_port_of(5432) == 5432);
  CHECK(ports.is_served_on(19000));
  CHECK_FALSE(ports.is_served_on(9000));
}

TEST_CASE("moves change what they name, and a move home leaves no trace") {
  const AppPorts known(two_ports());
  const auto moves = parse_app_ports("8080=18080&9000=9000", known);
  REQUIRE(moves);
  const AppPorts moved = known.moved(*moves);
  CHECK(moved.all() == std::vector<AppPort>{{8080, 18080}, {9000, 9000}});
  const auto back = parse_app_ports("8080=8080", moved);
  REQUIRE(back);
  CHECK(moved.moved(*back) == known);
}

TEST_CASE("a move that makes no sense is refused with what is wrong") {
  const AppPorts known(two_ports());
  const auto why = [&](std::string_view query) {
    const auto moves = parse_app_ports(query, known);
    return moves ? std::string() : moves.error().message();
  };
  CHECK(why("") == "say which port is served where: ?8080=18080");
  CHECK(why("8080") == "\"8080\" is not PORT=APP_PORT, such as 8080=18080");
  CHECK(why("8080=") == "\"8080=\" is not PORT=APP_PORT, such as 8080=18080");
  CHECK(why("8080=0") == "\"8080=0\" is not PORT=APP_PORT, such as 8080=18080");
  CHECK(why("8080=70000") == "\"8080=70000\" is not PORT=APP_PORT, such as 8080=18080");
  CHECK(why("81=82") == "81 is no port of the app: inbound.ports does not have it");
  CHECK(why("8080=1&8080=2") == "8080 is named twice");
}
