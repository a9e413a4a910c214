// The life of a program that serves until it is told to end, as its supervisor sees it: ready,
// status, watchdog (sd_notify(3)), SIGHUP to load the configuration again, SIGTERM to end within
// the drain's time, and a receipt as the last word. Knows nothing of what the program does.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/drain.h"
#include "runtime/http_server.h"
#include "runtime/listeners.h"
#include "runtime/loop.h"
#include "runtime/notify.h"
#include "runtime/result.h"

namespace pillion {

class Component {
 public:
  struct Callbacks {
    std::function<void()> on_reload;    // SIGHUP, as often as it comes before the end begins
    std::function<void()> on_drain;     // once: the first SIGTERM or SIGINT, or end()
    std::function<void()> on_deadline;  // a second signal, or the time is over; not after finish()
  };

  // Handles signals from now on; callbacks run from the loop. Of the drain's time, `reserve` (at
  // most half of it) is kept for what happens after the deadline. SIGPIPE is ignored.
  Component(Loop& loop, Callbacks callbacks, Duration reserve = Duration::zero());

  void become_ready();
  // Ready, and not asked to end.
  bool is_ready() const { return is_ready_ && !is_stopping_; }
  bool is_stopping() const { return is_stopping_; }

  // One line for people; said when it is another than the last one.
  void set_status(std::string text);
  // The end begins, as by SIGTERM: on_drain runs before this returns, unless it has run.
  void end() { drain_.begin(); }
  // The work is done: the deadline will not come.
  void finish() { drain_.finish(); }
  // The last word to the supervisor.
  void send_receipt(const std::map<std::string, long long>& numbers) { notifier_.receipt(numbers); }

 private:
  void on_drain();

  Callbacks callbacks_;
  Notifier notifier_;
  Drain drain_;
  SignalWatch hangup_;
  Timer watchdog_;
  std::string status_;
  bool is_ready_ = false;
  bool is_stopping_ = false;
};

// Lets `server` serve the socket that was handed over by that name or, without one, a new one on
// `address` (of the configuration: anything with an ip and a port). Neither is no error.
template<class Address>
Result<void> serve_on(HttpServer& server, InheritedListeners& listeners, std::string_view name,
                      const std::optional<Address>& address) {
  if (auto inherited = listeners.take(name)) {
    server.serve(std::move(*inherited));
    return {};
  }
  if (!address) return {};
  auto socket = listen_tcp(address->ip.to_string(), address->port);
  if (!socket) return fail(socket.error());
  server.serve(std::move(*socket));
  return {};
}

}  // namespace pillion
