#include "proxy/reactor.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>

namespace pillion::proxy {
namespace {

constexpr std::size_t kEventsPerBatch = 256;

// When events are let gather, and for how long: see let_gather().
constexpr std::size_t kCrowd = 64;
constexpr std::int64_t kSoonNs = 150'000;  // that was waited for them
constexpr long kGatherNsPerExchange = 1'000;
constexpr long kGatherNsMax = 250'000;
constexpr unsigned long kTimerSlackNs = 5'000;

}  // namespace

std::int64_t Reactor::precise_now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

Reactor::Reactor(Loop& loop)
    : loop_(loop),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      timers_(precise_now_ns() / 1'000'000),
      now_ns_(precise_now_ns()),
      events_(kEventsPerBatch) {
  PILLION_ASSERT(epoll_.is_open());
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // libuv's own descriptor
  PILLION_ASSERT(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, uv_backend_fd(loop.handle()), &event) == 0);
}

Reactor::~Reactor() {
  while (!graves_.empty()) {
    std::vector<Corpse> batch;
    batch.swap(graves_);
  }
}

void Reactor::add(int fd, Watcher& watcher) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &watcher;
  PILLION_ASSERT(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
}

void Reactor::add_listener(int fd, Watcher& watcher) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLEXCLUSIVE;
  event.data.ptr = &watcher;
  PILLION_ASSERT(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
}

void Reactor::hand_over(int fd, Watcher& watcher) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &watcher;
  PILLION_ASSERT(epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0);
}

void Reactor::remove(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

int Reactor::wait_milliseconds() {
  int uv_timeout = uv_backend_timeout(loop_.handle());
  if (uv_timeout > 0) {
    uv_update_time(loop_.handle());  // it counts from the loop's cached time
    uv_timeout = uv_backend_timeout(loop_.handle());
  }
  const auto wakeup = timers_.next_wakeup();
  if (!wakeup) return uv_timeout;
  const Milliseconds left = std::clamp<Milliseconds>(*wakeup - now(), 0, 60'000);
  const int own = static_cast<int>(left);
  return uv_timeout < 0 ? own : std::min(own, uv_timeout);
}

void Reactor::dispatch(int count) {
  bool is_uv_due = false;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    if (event.data.ptr == nullptr) {
      is_uv_due = true;
    } else {
      static_cast<Watcher*>(event.data.ptr)->on_events(event.events);
    }
  }
  timers_.advance(now());
  if (is_uv_due || uv_backend_timeout(loop_.handle()) == 0) loop_.run_once(false);
  if (!at_end_.empty()) run_batch_ends();
  while (!graves_.empty()) {  // what dies may bury others
    dying_.swap(graves_);
    dying_.clear();
  }
}

void Reactor::forget(BatchEnd& one) {
  for (BatchEnd*& entry : at_end_) {
    if (entry == &one) entry = nullptr;
  }
}

void Reactor::run_batch_ends() {
  for (std::size_t i = 0; i < at_end_.size(); ++i) {  // grows while it runs
    BatchEnd* one = std::exchange(at_end_[i], nullptr);
    if (one != nullptr) one->on_batch_end();
  }
  at_end_.clear();
}

// Where many exchanges are under way and events still come soon but one by one, each costs a
// wake-up, a short read and a short write, here and at both peers, more than the work that it
// brings: what comes may gather for a moment, which is short beside what an exchange takes with so
// many under way.
void Reactor::let_gather() {
  const long wanted = static_cast<long>(under_way_) * kGatherNsPerExchange;
  const timespec moment{0, std::min(wanted, kGatherNsMax)};
  nanosleep(&moment, nullptr);
}

void Reactor::run() {
  is_stopped_ = false;
  prctl(PR_SET_TIMERSLACK, kTimerSlackNs);  // of this thread; 50 us by default
  loop_.run_once(false);  // libuv registers new handles with its own epoll only while it runs
  while (!is_stopped_) {
    const std::int64_t waiting_since_ns = under_way_ < kCrowd ? 0 : precise_now_ns();
    const int count = epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()),
                                 wait_milliseconds());
    now_ns_ = precise_now_ns();
    PILLION_ASSERT(count >= 0 || errno == EINTR);
    dispatch(std::max(count, 0));
    if (watch_ && now_ns_ - watched_ns_ >= 1'000'000) {
      watched_ns_ = now_ns_;
      watch_();
    }
    const bool are_few = count > 0 && static_cast<std::size_t>(count) <= under_way_ / 8;
    if (are_few && now_ns_ - waiting_since_ns < kSoonNs) let_gather();
  }
}

}  // namespace pillion::proxy
