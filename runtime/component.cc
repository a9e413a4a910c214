#include "runtime/component.h"

#include <algorithm>
#include <csignal>

namespace pillion {
namespace {

Duration drain_time(Duration reserve) {
  const Duration whole = drain_timeout_from_environment();
  return std::max(whole - reserve, whole / 2);
}

}  // namespace

Component::Component(Loop& loop, Callbacks callbacks, Duration reserve)
    : callbacks_(std::move(callbacks)),
      notifier_(Notifier::from_environment()),
      drain_(
          loop, drain_time(reserve), [this] { on_drain(); }, [this] { callbacks_.on_deadline(); }),
      hangup_(loop, SIGHUP,
              [this] {
                if (!is_stopping_) callbacks_.on_reload();
              }),
      watchdog_(loop) {
  std::signal(SIGPIPE, SIG_IGN);
  if (const auto period = notifier_.watchdog_period()) {
    watchdog_.start(*period, *period, [this] { notifier_.send("WATCHDOG=1"); });
  }
}

void Component::become_ready() {
  is_ready_ = true;
  notifier_.ready();
}

void Component::set_status(std::string text) {
  if (text == status_) return;
  status_ = std::move(text);
  notifier_.status(status_);
}

void Component::on_drain() {
  is_stopping_ = true;
  notifier_.stopping();
  callbacks_.on_drain();
}

}  // namespace pillion
