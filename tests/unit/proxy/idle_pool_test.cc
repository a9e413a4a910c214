// The pool of idle connections.
#include "proxy/idle_pool.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;

namespace {

std::unique_ptr<int> make(int value) { return std::make_unique<int>(value); }

}  // namespace

TEST_CASE("the connection used last is reused first") {
  IdlePool<int> pool(3'000, 8);
  pool.put(make(1), 0);
  pool.put(make(2), 10);
  CHECK(*pool.take() == 2);
  CHECK(*pool.take() == 1);
  CHECK(pool.take() == nullptr);
}

TEST_CASE("connections that were idle for the limit expire, oldest first") {
  IdlePool<int> pool(3'000, 8);
  pool.put(make(1), 0);
  pool.put(make(2), 1'000);
  CHECK(*pool.next_expiry() == 3'000);
  CHECK(pool.expire(2'999) == nullptr);
  CHECK(*pool.expire(3'000) == 1);
  CHECK(pool.expire(3'000) == nullptr);
  CHECK(*pool.next_expiry() == 4'000);
  CHECK(*pool.expire(9'000) == 2);
  CHECK_FALSE(pool.next_expiry());
}

TEST_CASE("a full pool gives the oldest back") {
  IdlePool<int> pool(3'000, 2);
  CHECK(pool.put(make(1), 0) == nullptr);
  CHECK(pool.put(make(2), 0) == nullptr);
  CHECK(*pool.put(make(3), 0) == 1);
  CHECK(pool.size() == 2);
}

TEST_CASE("a connection can be removed by itself") {
  IdlePool<int> pool(3'000, 8);
  auto one = make(1);
  const int* address = one.get();
  pool.put(std::move(one), 0);
  pool.put(make(2), 0);
  CHECK(*pool.remove(address) == 1);
  CHECK(pool.remove(address) == nullptr);
  CHECK(pool.size() == 1);
}
