#include "runtime/drain.h"

#include <csignal>
#include <cstdlib>
#include <utility>

namespace pillion {

Duration drain_timeout_from_environment() {
  constexpr auto kDefault = std::chrono::seconds(30);
  const char* text = std::getenv("PILLION_DRAIN_SECONDS");
  if (text == nullptr || *text == '\0') return kDefault;
  char* end = nullptr;
  const long seconds = std::strtol(text, &end, 10);
  if (*end != '\0' || seconds < 0 || seconds > 86400) return kDefault;
  return std::chrono::seconds(seconds);
}

Drain::Drain(Loop& loop, Duration timeout, std::function<void()> on_drain,
             std::function<void()> on_deadline)
    : timeout_(timeout),
      on_drain_(std::move(on_drain)),
      on_deadline_(std::move(on_deadline)),
      deadline_(loop),
      terminate_(loop, SIGTERM, [this] { on_signal(); }),
      interrupt_(loop, SIGINT, [this] { on_signal(); }) {}

void Drain::begin() {
  if (state_ != State::Serving) return;
  state_ = State::Draining;
  deadline_.start(timeout_, [this] { on_deadline_reached(); });
  on_drain_();
}

void Drain::finish() {
  state_ = State::Finished;
  deadline_.stop();
}

void Drain::on_signal() {
  if (state_ == State::Serving)
    begin();
  else
    on_deadline_reached();
}

void Drain::on_deadline_reached() {
  if (state_ != State::Draining) return;
  finish();
  on_deadline_();
}

}  // namespace pillion
