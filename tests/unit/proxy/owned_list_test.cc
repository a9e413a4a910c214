// The list of what one owner holds by the thousand.
#include "proxy/owned_list.h"

#include <catch2/catch.hpp>
#include <set>

using namespace pillion::proxy;

namespace {

struct Thing : Owned {
  explicit Thing(int number) : value(number) {}
  int value;
};

std::set<int> values_of(const OwnedList<Thing>& list) {
  std::set<int> values;
  for (const auto& thing : list) values.insert(thing->value);
  return values;
}

}  // namespace

TEST_CASE("any member of an owned list can be taken out, once") {
  OwnedList<Thing> list;
  Thing& first = list.add(std::make_unique<Thing>(1));
  Thing& second = list.add(std::make_unique<Thing>(2));
  Thing& third = list.add(std::make_unique<Thing>(3));
  const auto taken = list.take(first);
  CHECK(taken.get() == &first);
  CHECK(values_of(list) == std::set<int>{2, 3});
  CHECK(list.take(first) == nullptr);
  CHECK(list.take(third).get() == &third);
  CHECK(list.take(second).get() == &second);
  CHECK(list.size() == 0);
}

TEST_CASE("an owned list does not hold what was never added to it") {
  OwnedList<Thing> list;
  list.add(std::make_unique<Thing>(1));
  Thing stranger(2);
  CHECK(list.take(stranger) == nullptr);
  CHECK(list.size() == 1);
}
