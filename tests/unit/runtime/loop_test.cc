// Loop owners: order, lifetimes, and that every loop closes with nothing left open.
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/fd.h"
#include "runtime/loop.h"

using namespace pillion;
using namespace std::chrono_literals;

TEST_CASE("timers fire in order and a stopped one never") {
  Loop loop;
  std::vector<int> fired;
  Timer late(loop), early(loop), stopped(loop);
  late.start(20ms, [&] { fired.push_back(2); });
  early.start(1ms, [&] { fired.push_back(1); });
  stopped.start(5ms, [&] { fired.push_back(9); });
  stopped.stop();
  loop.run();
  CHECK(fired == std::vector<int>{1, 2});
}

TEST_CASE("a repeating timer may destroy itself from its own callback") {
  Loop loop;
  int count = 0;
  auto timer = std::make_unique<Timer>(loop);
  timer->start(1ms, 1ms, [&] {
    if (++count == 3) timer.reset();
  });
  loop.run();
  CHECK(count == 3);
}

TEST_CASE("a timer may restart itself from its own callback") {
  Loop loop;
  int count = 0;
  Timer timer(loop);
  std::function<void()> again = [&] {
    if (++count < 3) timer.start(1ms, again);
  };
  timer.start(1ms, again);
  loop.run();
  CHECK(count == 3);
}

TEST_CASE("no callback runs after its owner is gone") {
  Loop loop;
  bool has_fired = false;
  {
    Timer timer(loop);
    timer.start(0ms, [&] { has_fired = true; });
  }
  loop.run();
  CHECK_FALSE(has_fired);
}

TEST_CASE("deferred tasks run later, in order, and may defer more") {
  Loop loop;
  std::vector<int> order;
  loop.defer([&] {
    order.push_back(1);
    loop.defer([&] { order.push_back(3); });
  });
  loop.defer([&] { order.push_back(2); });
  CHECK(order.empty());
  loop.run();
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("an object handed to the loop lives until the end of the round") {
  struct Probe {
    explicit Probe(bool& dead) : dead_(dead) {}
    ~Probe() { dead_ = true; }
    bool& dead_;
  };
  bool is_dead = false;
  Loop loop;
  loop.defer_delete(std::make_unique<Probe>(is_dead));
  CHECK_FALSE(is_dead);
  loop.run();
  CHECK(is_dead);
}

TEST_CASE("a poll reports readable data and the end of the peer") {
  Loop loop;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  const Fd ours(ends[0]);
  Fd theirs(ends[1]);
  std::string received;
  Poll poll(loop, ours.get());
  poll.start(kReadable, [&](int, int) {
    char buffer[16];
    const ssize_t count = ::read(ours.get(), buffer, sizeof buffer);
    if (count <= 0) {
      poll.stop();
      return;
    }
    received.append(buffer, static_cast<std::size_t>(count));
    theirs.reset();
  });
  REQUIRE(write_all(theirs.get(), "hello"));
  loop.run();
  CHECK(received == "hello");
}

TEST_CASE("a signal watch sees the signal") {
  Loop loop;
  int count = 0;
  SignalWatch watch(loop, SIGUSR2, [&] {
    ++count;
    loop.stop();
  });
  Timer guard(loop);
  guard.start(10s, [&] { loop.stop(); });
  ::raise(SIGUSR2);
  loop.run();
  CHECK(count == 1);
}

TEST_CASE("another thread can wake the loop") {
  Loop loop;
  bool is_awake = false;
  Wakeup wakeup(loop, [&] {
    is_awake = true;
    loop.stop();
  });
  std::thread other([&] { wakeup.send(); });
  loop.run();
  other.join();
  CHECK(is_awake);
}

TEST_CASE("work runs on the pool and its end on the loop") {
  Loop loop;
  const auto loop_thread = std::this_thread::get_id();
  std::thread::id worker;
  bool is_done = false;
  loop.queue_work([&] { worker = std::this_thread::get_id(); },
                  [&] { is_done = std::this_thread::get_id() == loop_thread; });
  loop.run();
  CHECK(is_done);
  CHECK(worker != loop_thread);
}
