// The buffers of a connection, watermarks included.
#include "proxy/buffers.h"

#include <catch2/catch.hpp>
#include <string>

using namespace pillion::proxy;

TEST_CASE("a queue gives back what was put in, in order, however small the pieces") {
  BufferPool pool;
  ByteQueue before;  // whose memory is used again
  before.append(pool, std::string(1000, 'x'));
  before.release(pool);
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
  const void* memory = first.view().data();
  first.release(pool);
  ByteQueue second;
  second.append(pool, "b");
  CHECK((static_cast<const void*>(second.view().data()) == memory) == kIsReusing);
  CHECK(second.view() == "b");
}

TEST_CASE("a look comes with every 512 KiB received, and reads are short while memory is scarce") {
  BufferPool pool(100'000);
  std::size_t received = 0;
  int looks = 0;
  pool.set_watch(received, [&] { ++looks; });
  received = 512 * 1024 - 1;
  CHECK(pool.read_buffer().size() == 100'000);
  CHECK(looks == 0);
  ++received;
  pool.read_buffer();
  pool.read_buffer();
  CHECK(looks == 1);
  pool.set_scarce(true);
  CHECK(pool.read_buffer().size() == 4096);
  ByteQueue queue;
  queue.append(pool, std::string(1000, 'x'));
  queue.release(pool);
  queue.append(pool, "x");
  CHECK(queue.capacity() == 64);  // nothing was kept
  queue.release(pool);
}
