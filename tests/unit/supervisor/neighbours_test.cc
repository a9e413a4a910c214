// Which services of the host one can call, and where: registry entries, policy, modes, who is gone.
#include "supervisor/host/neighbour_watch.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "supervisor/host/spawn.h"

using namespace pillion;
using namespace pillion::supervisor::host;

namespace {

const std::uint32_t kFirst = kNeighbourAddressFirst;

RegisteredService service(const std::string& name, std::uint32_t address,
                          const std::string& host_address = "*") {
  return {name, address, 1, 1, {{8080, 18080, "http", host_address}}};
}

NeighbourFacts facts(const std::string& gateway = "") {
  NeighbourFacts facts;
  facts.name = "ours";
  facts.is_captured = true;
  facts.gateway = gateway;
  return facts;
}

}  // namespace

TEST_CASE("a neighbour is found on the host, from inside by the gateway", "[neighbours]") {
  const std::vector<RegisteredService> there = {service("orders", kFirst),
                                                service("ours", kFirst + 1)};
  const auto sealed = plan_neighbours(facts(), there, {});
  REQUIRE(sealed.size() == 1);
  CHECK(sealed[0].state == NeighbourState::Running);
  CHECK(sealed[0].ports == std::vector<NeighbourPort>{{8080, "http", "127.0.0.1", 18080},
                                                      {18080, "http", "127.0.0.1", 18080}});
  const auto bridged = plan_neighbours(facts("10.213.0.1"), there, {});
  CHECK(bridged[0].ports[0].address == "10.213.0.1");
}

TEST_CASE("a port on one address of the host is found there, if it can be", "[neighbours]") {
  const auto state = [](const std::string& gateway, const std::string& address) {
    return plan_neighbours(facts(gateway), {service("orders", kFirst, address)}, {})[0];
  };
  CHECK(state("", "127.0.0.1").ports[0].address == "127.0.0.1");
  CHECK(state("10.213.0.1", "192.0.2.1").ports[0].address == "192.0.2.1");
  CHECK(state("10.213.0.1", "127.0.0.1").state == NeighbourState::Distant);
  CHECK(state("10.213.0.1", "::1").state == NeighbourState::Distant);
}

TEST_CASE("who is gone is stopped, until another has its address", "[neighbours]") {
  const auto before = plan_neighbours(facts(), {service("orders", kFirst)}, {});
  const auto gone = plan_neighbours(facts(), {}, before);
  REQUIRE(gone.size() == 1);
  CHECK(gone[0].state == NeighbourState::Stopped);
  CHECK(gone[0].ports.empty());
  CHECK(plan_neighbours(facts(), {service("orders", kFirst)}, gone) == before);
  const auto replaced = plan_neighbours(facts(), {service("users", kFirst)}, gone);
  REQUIRE(replaced.size() == 1);
  CHECK(replaced[0].name == "users");
}

TEST_CASE("policy and names of our own come first", "[neighbours]") {
  NeighbourFacts strict = facts();
  strict.may_call = false;
  strict.taken = {"mail"};
  const auto planned =
      plan_neighbours(strict, {service("mail", kFirst), service("orders", kFirst + 1)}, {});
  REQUIRE(planned.size() == 1);
  CHECK(planned[0].name == "orders");
  CHECK(planned[0].state == NeighbourState::Denied);
  CHECK(planned[0].ports.empty());
  // Who is denied stays so when it has stopped.
  CHECK(plan_neighbours(strict, {}, planned)[0].state == NeighbourState::Denied);
}

TEST_CASE("names stand for virtual addresses where capture is, else for the host", "[neighbours]") {
  const auto planned = plan_neighbours(facts("10.213.0.1"), {service("orders", kFirst)}, {});
  const auto virtual_names = neighbour_aliases(facts("10.213.0.1"), planned);
  REQUIRE(virtual_names.size() == 1);
  CHECK(virtual_names[0] ==
        netns::HostAlias{"240.240.128.1", {"orders", "orders.pillion.internal"}});
  NeighbourFacts uncaptured = facts("10.213.0.1");
  uncaptured.is_captured = false;
  CHECK(neighbour_aliases(uncaptured, planned)[0].address == "10.213.0.1");
  CHECK(neighbour_aliases(uncaptured, plan_neighbours(uncaptured, {}, planned)).empty());
}

TEST_CASE("an address is a name's own, or the next one that is free", "[neighbours]") {
  const auto wished = choose_neighbour_address("orders", {});
  CHECK(wished >= kNeighbourAddressFirst);
  CHECK(wished <= kNeighbourAddressLast);
  CHECK(choose_neighbour_address("orders", {service("orders", wished)}) == wished);
  const auto other = choose_neighbour_address("orders", {service("users", wished)});
  CHECK(other != wished);
}

TEST_CASE("the registry lists who announced itself, as long as its keeper lives", "[neighbours]") {
  char path[] = "/tmp/pillion-registry-XXXXXX";
  REQUIRE(::mkdtemp(path) != nullptr);
  const ServiceRegistry registry(std::string(path) + "/.services");
  CHECK(registry.list().empty());
  RegisteredService ours = service("orders", 0, "127.0.0.1");
  ours.keeper_pid = ::getpid();
  ours.keeper_start_time = read_start_time(::getpid());
  REQUIRE(registry.announce(ours));
  REQUIRE(registry.list().size() == 1);
  CHECK(registry.list()[0].ports == ours.ports);
  RegisteredService dead = ours;
  dead.name = "users";
  dead.keeper_start_time += 1;  // a process of another life with the same number
  REQUIRE(registry.announce(dead));
  CHECK(registry.list().size() == 1);
  registry.withdraw("orders");
  CHECK(registry.list().empty());
  std::filesystem::remove_all(path);
}

TEST_CASE("an entry that is none is passed over", "[neighbours]") {
  const std::string good = "address 4042293249\nkeeper 7 8\nport 8080 18080 http *\n";
  CHECK(parse_registered("orders", good));
  CHECK_FALSE(parse_registered("Orders", good));
  CHECK_FALSE(parse_registered("orders", ""));
  CHECK_FALSE(parse_registered("orders", "address 1\nkeeper 7 8\n"));
  CHECK(parse_registered("orders", good + "port 0 x\nport\nnews\n")->ports.size() == 1);
}
