// The thread that writes what children say into their logs: one per service, for all its children.
// It is the only part of the supervisor that waits for the logs' disk while the service runs; where
// a limit on processes denies the thread, the loop writes until there is one.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "runtime/clock.h"
#include "runtime/loop.h"
#include "supervisor/host/output_queue.h"

namespace pillion::supervisor::host {

class OutputWriter {
 public:
  // `on_progress` runs on the loop: after a write that call_back() asked for, and when a log begins
  // to refuse records or takes them again.
  OutputWriter(Loop& loop, std::function<void()> on_progress);
  // Waits for a write under way, up to two seconds; one that hangs is left behind.
  ~OutputWriter();

  // Writes what comes into the queue from now on. The thread starts with the first.
  void add(std::shared_ptr<OutputQueue> queue);
  // What is still in it stays there. Does not wait for a write under way.
  void remove(const std::shared_ptr<OutputQueue>& queue);
  // There is something new in a queue.
  void notify();
  void call_back();
  // Waits until all of these are written, at most `patience`; false when they are not. Does not
  // wait for a disk that has hung for a second already.
  bool flush(const std::vector<std::shared_ptr<OutputQueue>>& queues, Duration patience);

 private:
  struct State;
  static void run(const std::shared_ptr<State>& state);
  void start();
  void wake();

  std::shared_ptr<State> state_;  // shared with a thread that may hang in a write
  bool is_started_ = false;
};

}  // namespace pillion::supervisor::host
