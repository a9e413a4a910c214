#include "runtime/loop.h"

#include <uv.h>

#include <utility>

namespace pillion {
namespace {

// The heap core behind an owner: libuv keeps a pointer to `handle` until its close callback, and
// calls no other callback after uv_close. The function object dies with the core, so that an owner
// may be destroyed from inside its own callback.
template<class Core>
void close_core(Core*& core) {
  if (core == nullptr) return;
  uv_close(reinterpret_cast<uv_handle_t*>(&core->handle),
           [](uv_handle_t* handle) { delete static_cast<Core*>(handle->data); });
  core = nullptr;
}

std::uint64_t to_milliseconds_up(Duration duration) {
  if (duration <= Duration::zero()) return 0;
  return static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

}  // namespace

// ---- Loop ---------------------------------------------------------------------------------------

// Tasks run from a check handle, so after the events of the round in which they were deferred; an
// idle handle keeps that round from blocking.
struct Loop::Deferred {
  uv_check_t check{};
  uv_idle_t idle{};
  std::vector<std::function<void()>> tasks;
  int handles_open = 2;

  void run_tasks() {
    std::vector<std::function<void()>> batch;
    batch.swap(tasks);
    for (auto& task : batch) task();
    batch.clear();
    if (tasks.empty()) {
      uv_idle_stop(&idle);
      uv_unref(reinterpret_cast<uv_handle_t*>(&check));
    }
  }
  static void on_closed(uv_handle_t* handle) {
    auto* self = static_cast<Deferred*>(handle->data);
    if (--self->handles_open == 0) delete self;
  }
};

Loop::Loop() : loop_(std::make_unique<uv_loop_s>()), deferred_(new Deferred) {
  PILLION_ASSERT(uv_loop_init(loop_.get()) == 0);
  uv_check_init(loop_.get(), &deferred_->check);
  uv_idle_init(loop_.get(), &deferred_->idle);
  deferred_->check.data = deferred_;
  deferred_->idle.data = deferred_;
  uv_check_start(&deferred_->check,
                 [](uv_check_t* check) { static_cast<Deferred*>(check->data)->run_tasks(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(&deferred_->check));
}

Loop::~Loop() { close(); }

void Loop::run() { uv_run(loop_.get(), UV_RUN_DEFAULT); }
void Loop::run_once(bool may_block) {
  uv_run(loop_.get(), may_block ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}
void Loop::stop() { uv_stop(loop_.get()); }

void Loop::defer(std::function<void()> task) {
  if (deferred_->tasks.empty()) {
    uv_ref(reinterpret_cast<uv_handle_t*>(&deferred_->check));
    uv_idle_start(&deferred_->idle, [](uv_idle_t*) {});
  }
  deferred_->tasks.push_back(std::move(task));
}

void Loop::queue_work(std::function<void()> work, std::function<void()> done) {
  struct Job {
    uv_work_t request{};
    std::function<void()> work;
    std::function<void()> done;
  };
  auto* job = new Job{{}, std::move(work), std::move(done)};
  job->request.data = job;
  const int status = uv_queue_work(
      loop_.get(), &job->request,
      [](uv_work_t* request) { static_cast<Job*>(request->data)->work(); },
      [](uv_work_t* request, int) {
        const std::unique_ptr<Job> finished(static_cast<Job*>(request->data));
        finished->done();
      });
  PILLION_ASSERT(status == 0);
}

MonotonicTime Loop::now() const {
  return MonotonicTime(std::chrono::milliseconds(uv_now(loop_.get())));
}

void Loop::close() {
  if (is_closed_) return;
  is_closed_ = true;
  while (!deferred_->tasks.empty()) deferred_->run_tasks();
  uv_close(reinterpret_cast<uv_handle_t*>(&deferred_->check), &Deferred::on_closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&deferred_->idle), &Deferred::on_closed);
  deferred_ = nullptr;
  uv_run(loop_.get(), UV_RUN_DEFAULT);
  PILLION_ASSERT(uv_loop_close(loop_.get()) == 0);
}

// ---- Timer --------------------------------------------------------------------------------------

struct Timer::Core {
  uv_timer_t handle{};
  std::function<void()> callback;
};

Timer::Timer(Loop& loop) : core_(new Core) {
  uv_timer_init(loop.handle(), &core_->handle);
  core_->handle.data = core_;
}
Timer::~Timer() { close_core(core_); }
Timer::Timer(Timer&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
Timer& Timer::operator=(Timer&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

void Timer::start(Duration delay, Duration repeat, std::function<void()> on_fire) {
  core_->callback = std::move(on_fire);
  uv_update_time(core_->handle.loop);
  uv_timer_start(
      &core_->handle,
      [](uv_timer_t* handle) {
        // A copy: the callback may restart or destroy its own timer.
        const auto callback = static_cast<Core*>(handle->data)->callback;
        if (callback) callback();
      },
      to_milliseconds_up(delay), to_milliseconds_up(repeat));
}
void Timer::stop() { uv_timer_stop(&core_->handle); }
bool Timer::is_active() const {
  return uv_is_active(reinterpret_cast<const uv_handle_t*>(&core_->handle)) != 0;
}

// ---- Poll ---------------------------------------------------------------------------------------

struct Poll::Core {
  uv_poll_t handle{};
  std::function<void(int, int)> callback;
  bool is_running = false;
};

Poll::Poll(Loop& loop, int fd) : core_(new Core) {
  PILLION_ASSERT(uv_poll_init(loop.handle(), &core_->handle, fd) == 0);
  core_->handle.data = core_;
}
Poll::~Poll() {
  if (core_ == nullptr) return;
  uv_poll_stop(&core_->handle);
  close_core(core_);
}
Poll::Poll(Poll&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
Poll& Poll::operator=(Poll&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

void Poll::start(int events, std::function<void(int, int)> on_event) {
  PILLION_ASSERT(!core_->is_running);
  core_->callback = std::move(on_event);
  set_events(events);
}

void Poll::set_events(int events) {
  if (events == 0) {
    stop();
    return;
  }
  static_assert(int{kReadable} == int{UV_READABLE} && int{kWritable} == int{UV_WRITABLE} &&
                int{kDisconnect} == int{UV_DISCONNECT});
  uv_poll_start(&core_->handle, events, [](uv_poll_t* handle, int status, int fired) {
    auto* core = static_cast<Core*>(handle->data);
    core->is_running = true;
    core->callback(fired, status < 0 ? -status : 0);
    core->is_running = false;
  });
}
void Poll::stop() { uv_poll_stop(&core_->handle); }

// ---- SignalWatch, Wakeup, AfterRound ------------------------------------------------------------

struct SignalWatch::Core {
  uv_signal_t handle{};
  std::function<void()> callback;
};

SignalWatch::SignalWatch(Loop& loop, int signal_number, std::function<void()> on_signal)
    : core_(new Core) {
  core_->callback = std::move(on_signal);
  uv_signal_init(loop.handle(), &core_->handle);
  core_->handle.data = core_;
  uv_signal_start(
      &core_->handle,
      [](uv_signal_t* handle, int) {
        const auto callback = static_cast<Core*>(handle->data)->callback;
        if (callback) callback();
      },
      signal_number);
  uv_unref(reinterpret_cast<uv_handle_t*>(&core_->handle));
}
SignalWatch::~SignalWatch() { close_core(core_); }
SignalWatch::SignalWatch(SignalWatch&& other) noexcept
    : core_(std::exchange(other.core_, nullptr)) {}
SignalWatch& SignalWatch::operator=(SignalWatch&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

struct Wakeup::Core {
  uv_async_t handle{};
  std::function<void()> callback;
};

Wakeup::Wakeup(Loop& loop, std::function<void()> on_wakeup) : core_(new Core) {
  core_->callback = std::move(on_wakeup);
  uv_async_init(loop.handle(), &core_->handle, [](uv_async_t* handle) {
    const auto callback = static_cast<Core*>(handle->data)->callback;
    if (callback) callback();
  });
  core_->handle.data = core_;
}
Wakeup::~Wakeup() { close_core(core_); }
Wakeup::Wakeup(Wakeup&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
Wakeup& Wakeup::operator=(Wakeup&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}
void Wakeup::send() { uv_async_send(&core_->handle); }

struct AfterRound::Core {
  uv_check_t handle{};
  std::function<void()> callback;
};

AfterRound::AfterRound(Loop& loop, std::function<void()> on_round) : core_(new Core) {
  core_->callback = std::move(on_round);
  uv_check_init(loop.handle(), &core_->handle);
  core_->handle.data = core_;
  uv_check_start(&core_->handle, [](uv_check_t* handle) {
    const auto& callback = static_cast<Core*>(handle->data)->callback;
    if (callback) callback();
  });
  uv_unref(reinterpret_cast<uv_handle_t*>(&core_->handle));
}
AfterRound::~AfterRound() { close_core(core_); }
AfterRound::AfterRound(AfterRound&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
AfterRound& AfterRound::operator=(AfterRound&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

}  // namespace pillion
