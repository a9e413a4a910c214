// The buffers of a connection, watermarks included.
#include "proxy/buffers.h"

#include <catch2/catch.hpp>

using namespace pillion::proxy;

TEST_CASE("a queue gives back what was put in, in order, however small the pieces") {
  BufferPool pool;
  pool.give(std::string(1000, 'x'));  // memory that held something else
  ByteQueue queue;
  std::string expected;
  for (int i = 0; i < 300; ++i) {
    const std::string piece(static_cast<std::size_t>(i % 5), static_cast<char>('a' + i % 26));
    queue.append(pool, piece);
    expected += piece;
    if (i % 7 == 0) {
      const std::size_t count = queue.size() / 2;
      REQUIRE(queue.view() == expected);
      queue.consume(pool, count);
      expected.erase(0, count);
    }
  }
  CHECK(queue.view() == expected);
  queue.consume(pool, queue.size());
  CHECK(queue.is_empty());
}

TEST_CASE("memory returns to the pool and is used again") {
  BufferPool pool;
  ByteQueue first;
  first.append(pool, std::string(500, 'a'));
  const char* memory = first.view().data();
  first.release(pool);
  ByteQueue second;
  second.append(pool, "b");
  CHECK(second.view().data() == memory);
  CHECK(second.view() == "b");
}
