#include "supervisor/host/output_writer.h"

#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace pillion::supervisor::host {
namespace {

using Clock = std::chrono::steady_clock;
using Queues = std::vector<std::shared_ptr<OutputQueue>>;

constexpr auto kEndPatience = std::chrono::seconds(2);
constexpr auto kHangs = std::chrono::seconds(1);

bool is_written(const Queues& queues) {
  return std::none_of(queues.begin(), queues.end(),
                      [](const auto& queue) { return queue->has_work(); });
}

}  // namespace

struct OutputWriter::State {
  std::mutex mutex;
  std::condition_variable work;
  std::condition_variable done;
  Queues queues;
  std::unique_ptr<Wakeup> wakeup;  // null once the owner is gone
  bool has_work = false;
  bool wants_call_back = false;
  bool is_stopping = false;
  bool has_ended = false;
  Clock::time_point busy_since{};  // of the write under way; zero = none

  // One batch; with the lock before and after, not during the write.
  bool write_one(OutputQueue& queue, std::unique_lock<std::mutex>& lock);
  // Until nothing is left, and calls back who asked for it.
  void write_all(std::unique_lock<std::mutex>& lock);
};

OutputWriter::OutputWriter(Loop& loop, std::function<void()> on_progress)
    : state_(std::make_shared<State>()) {
  state_->wakeup = std::make_unique<Wakeup>(loop, std::move(on_progress));
}

OutputWriter::~OutputWriter() {
  std::unique_lock lock(state_->mutex);
  state_->is_stopping = true;
  state_->wakeup.reset();
  state_->work.notify_one();
  if (is_started_) state_->done.wait_for(lock, kEndPatience, [&] { return state_->has_ended; });
}

// Signals are the loop's.
void OutputWriter::start() {
  if (is_started_) return;
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread([state = state_] { run(state); }).detach();  // the destructor waits as it may
    is_started_ = true;
  } catch (const std::system_error&) {  // a limit on processes counts threads too
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Without a thread the loop writes; each call tries again to have one.
void OutputWriter::wake() {
  start();
  std::unique_lock lock(state_->mutex);
  if (is_started_) {
    if (!std::exchange(state_->has_work, true)) state_->work.notify_one();
    return;
  }
  state_->write_all(lock);
}

void OutputWriter::add(std::shared_ptr<OutputQueue> queue) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->queues.push_back(std::move(queue));
  }
  wake();
}

void OutputWriter::remove(const std::shared_ptr<OutputQueue>& queue) {
  const std::lock_guard lock(state_->mutex);
  std::erase(state_->queues, queue);
}

void OutputWriter::notify() { wake(); }

void OutputWriter::call_back() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->wants_call_back = true;
  }
  wake();
}

bool OutputWriter::flush(const Queues& queues, Duration patience) {
  if (is_written(queues)) return true;
  notify();
  const auto deadline = Clock::now() + patience;
  std::unique_lock lock(state_->mutex);
  while (!is_written(queues)) {
    const auto now = Clock::now();
    const auto since = state_->busy_since;
    const bool hangs = since != Clock::time_point{} && now - since > kHangs;
    if (now >= deadline || (hangs && patience < kHangs)) return false;
    state_->done.wait_until(lock, std::min(deadline, now + kHangs));
  }
  return true;
}

bool OutputWriter::State::write_one(OutputQueue& queue, std::unique_lock<std::mutex>& lock) {
  busy_since = Clock::now();
  lock.unlock();
  const int error_before = queue.log().error();
  const bool has_written = queue.write_some();
  const bool is_news = queue.log().error() != error_before;
  lock.lock();
  busy_since = {};
  if (wakeup && (is_news || (has_written && wants_call_back))) {
    wants_call_back = false;
    wakeup->send();
  }
  if (has_written) done.notify_all();
  return has_written;
}

void OutputWriter::State::write_all(std::unique_lock<std::mutex>& lock) {
  const Queues now = queues;
  // In turn, so that a child that floods delays nobody by more than a batch.
  for (bool has_any = true; has_any && !is_stopping;) {
    has_any = false;
    for (const auto& queue : now) has_any |= write_one(*queue, lock);
  }
  // All was written before somebody asked to be told.
  if (wakeup && std::exchange(wants_call_back, false)) wakeup->send();
}

void OutputWriter::run(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (!state->is_stopping) {
    state->work.wait(lock, [&] { return state->has_work || state->is_stopping; });
    state->has_work = false;
    state->write_all(lock);
  }
  state->has_ended = true;
  state->done.notify_all();
}

}  // namespace pillion::supervisor::host
