// The socket side of a worker's loop: edge-triggered epoll with libuv's loop embedded in it (for
// wakeups, coarse timers and the thread pool). Sockets bypass uv_poll because libuv 1.44
// re-registers a descriptor (two epoll_ctl calls) whenever the interest changes; here a socket is
// registered once for its whole life, and pausing a reader is not reading.
//
// One reactor per thread. Watchers are told of edges; a watcher that ends its own life hands itself
// to `bury`, so that events of the same batch never meet a freed object.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "proxy/timer_wheel.h"
#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/loop.h"

namespace pillion::proxy {

class Watcher {
 public:
  virtual ~Watcher() = default;
  // EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR as they came since the last call.
  virtual void on_events(std::uint32_t events) = 0;
};

// Wants to be called once when the current batch of events has been handled.
class BatchEnd {
 public:
  virtual void on_batch_end() = 0;

 protected:
  ~BatchEnd() = default;
};

class Reactor {
 public:
  explicit Reactor(Loop& loop);
  ~Reactor();

  // Edge-triggered, both directions, until remove() or close of the descriptor.
  void add(int fd, Watcher& watcher);
  // Level-triggered reading, one of several waiters is woken: for shared listening sockets.
  void add_listener(int fd, Watcher& watcher);
  // The events of `fd` go to another watcher from now on.
  void hand_over(int fd, Watcher& watcher);
  // Needed before closing a descriptor that other processes hold too.
  void remove(int fd);

  // Once, before the reactor waits again; what is asked for meanwhile counts to the same end.
  void at_batch_end(BatchEnd& one) { at_end_.push_back(&one); }
  void forget(BatchEnd& one);

  // Destroys `object` after the events of the current batch.
  template<class T>
  void bury(std::unique_ptr<T> object) {
    if (object) graves_.emplace_back(std::move(object));
  }

  // Runs until stop().
  void run();
  void stop() { is_stopped_ = true; }

  TimerWheel& timers() { return timers_; }
  // Of the current batch of events; precise_now() asks the clock.
  Milliseconds now() const { return now_ns_ / 1'000'000; }
  std::int64_t now_ns() const { return now_ns_; }
  static std::int64_t precise_now_ns();
  Loop& loop() { return loop_; }
  // How many exchanges there are: with many, the reactor prefers throughput to the last
  // microsecond.
  void set_under_way(std::size_t count) { under_way_ = count; }
  // Called after a batch of events, but not twice within a millisecond.
  void set_watch(std::function<void()> call) { watch_ = std::move(call); }
  // Bytes that its sockets have received; wraps.
  const std::size_t& bytes_received() const { return bytes_received_; }
  void note_received(std::size_t bytes) { bytes_received_ += bytes; }

 private:
  // A type-erased owner without an allocation per grave.
  class Corpse {
   public:
    template<class T>
    explicit Corpse(std::unique_ptr<T> object)
        : object_(object.release()), destroy_([](void* dead) { delete static_cast<T*>(dead); }) {}
    Corpse(Corpse&& other) noexcept
        : object_(std::exchange(other.object_, nullptr)), destroy_(other.destroy_) {}
    Corpse& operator=(Corpse&&) = delete;
    ~Corpse() {
      if (object_ != nullptr) destroy_(object_);
    }

   private:
    void* object_;
    void (*destroy_)(void*);
  };

  int wait_milliseconds();
  void dispatch(int count);
  void run_batch_ends();
  void let_gather();

  Loop& loop_;
  Fd epoll_;
  TimerWheel timers_;
  std::int64_t now_ns_;
  bool is_stopped_ = false;
  std::size_t under_way_ = 0;
  std::size_t bytes_received_ = 0;
  std::function<void()> watch_;
  std::int64_t watched_ns_ = 0;
  std::vector<BatchEnd*> at_end_;
  std::vector<Corpse> graves_;
  std::vector<Corpse> dying_;
  std::vector<epoll_event> events_;
};

}  // namespace pillion::proxy
