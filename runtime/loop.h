// The event loop and its owners, over libuv. One loop per thread, passed by reference.
//
// Every owner here is a small movable handle on a heap core that dies in libuv's close callback:
// destroying the owner stops the watch at once, and no callback of it runs afterwards. An owner
// must be destroyed on its loop's thread and before its Loop. A callback may destroy its own owner;
// what the callback captured is released one round later.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/clock.h"
#include "runtime/result.h"

struct uv_loop_s;

namespace pillion {

// Owns a uv_loop_t. `close()` (or the destructor) requires that every owner on it is gone; it
// asserts that uv_loop_close() returns 0, so that a forgotten handle is found by every test.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop() or until nothing is left to wait for.
  void run();
  // One round; `may_block` false polls.
  void run_once(bool may_block = true);
  // run() returns after the current round. Only from the loop's thread.
  void stop();

  // Runs `task` at the end of the current round, never before this call returns.
  void defer(std::function<void()> task);
  // Keeps `object` alive until the end of the current round: for an object that ends its own life
  // from one of its callbacks.
  template<class T>
  void defer_delete(std::unique_ptr<T> object) {
    if (object) defer([held = std::shared_ptr<T>(std::move(object))] {});
  }

  // Runs `work` on libuv's thread pool (4 threads), then `done` on this loop. Not cancellable:
  // `done` must tolerate that its receiver is gone.
  void queue_work(std::function<void()> work, std::function<void()> done);

  // The loop's cached time of this round, monotonic.
  MonotonicTime now() const;

  void close();
  uv_loop_s* handle() { return loop_.get(); }

 private:
  struct Deferred;
  std::unique_ptr<uv_loop_s> loop_;
  Deferred* deferred_ = nullptr;
  bool is_closed_ = false;
};

// Fires once, or repeatedly with `repeat` > 0. Resolution one millisecond, rounded up.
class Timer {
 public:
  explicit Timer(Loop& loop);
  ~Timer();
  Timer(Timer&& other) noexcept;
  Timer& operator=(Timer&& other) noexcept;

  void start(Duration delay, std::function<void()> on_fire) {
    start(delay, Duration::zero(), std::move(on_fire));
  }
  void start(Duration delay, Duration repeat, std::function<void()> on_fire);
  void stop();
  bool is_active() const;

 private:
  struct Core;
  Core* core_;
};

enum PollEvents : int { kReadable = 1, kWritable = 2, kDisconnect = 4 };

// Watches a descriptor that the caller owns and closes only after destroying the Poll.
// `on_event(events, error)` gets PollEvents; `error` is 0 or an errno.
class Poll {
 public:
  Poll(Loop& loop, int fd);
  ~Poll();
  Poll(Poll&& other) noexcept;
  Poll& operator=(Poll&& other) noexcept;

  void start(int events, std::function<void(int events, int error)> on_event);
  // Changes what is watched; the callback of start() stays. 0 stops.
  void set_events(int events);
  void stop();

 private:
  struct Core;
  Core* core_;
};

// Watches one signal for the whole process.
class SignalWatch {
 public:
  SignalWatch(Loop& loop, int signal_number, std::function<void()> on_signal);
  ~SignalWatch();
  SignalWatch(SignalWatch&& other) noexcept;
  SignalWatch& operator=(SignalWatch&& other) noexcept;

 private:
  struct Core;
  Core* core_;
};

// Wakes the loop from another thread. Several send() calls may arrive as one `on_wakeup`.
class Wakeup {
 public:
  Wakeup(Loop& loop, std::function<void()> on_wakeup);
  ~Wakeup();
  Wakeup(Wakeup&& other) noexcept;
  Wakeup& operator=(Wakeup&& other) noexcept;

  void send();  // any thread, while the owner lives

 private:
  struct Core;
  Core* core_;
};

// Called once per round, after polling for events: the place to flush what the round gathered.
class AfterRound {
 public:
  AfterRound(Loop& loop, std::function<void()> on_round);
  ~AfterRound();
  AfterRound(AfterRound&& other) noexcept;
  AfterRound& operator=(AfterRound&& other) noexcept;

 private:
  struct Core;
  Core* core_;
};

}  // namespace pillion
