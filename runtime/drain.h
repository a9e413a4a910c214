// The end of a program that serves: SIGTERM starts a drain with a deadline, a second SIGTERM or the
// deadline ends it. STYLE: stop accepting -> drain -> deadline -> close all.
#pragma once

#include <functional>
#include <memory>

#include "runtime/clock.h"
#include "runtime/loop.h"

namespace pillion {

// PILLION_DRAIN_SECONDS (whole seconds, 0 to 86400), 30 s when absent or malformed.
Duration drain_timeout_from_environment();

class Drain {
 public:
  // `on_drain` runs once, at the first SIGTERM or SIGINT or begin(). `on_deadline` runs when the
  // timeout has passed or at a further signal, unless finish() came first.
  Drain(Loop& loop, Duration timeout, std::function<void()> on_drain,
        std::function<void()> on_deadline);

  void begin();
  // The work is done: the deadline will not fire.
  void finish();
  bool is_draining() const { return state_ == State::Draining; }

 private:
  enum class State { Serving, Draining, Finished };
  void on_signal();
  void on_deadline_reached();

  State state_ = State::Serving;
  Duration timeout_;
  std::function<void()> on_drain_;
  std::function<void()> on_deadline_;
  Timer deadline_;
  SignalWatch terminate_;
  SignalWatch interrupt_;
};

}  // namespace pillion
