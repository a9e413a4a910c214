// The sd_notify protocol (sd_notify(3)), both ways: a component tells its supervisor, and the
// supervisor listens to its children. Messages are datagrams of KEY=value lines.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/loop.h"
#include "runtime/result.h"

namespace pillion {

// Sends to $NOTIFY_SOCKET (a path, or an abstract name with '@'). Without that variable every call
// does nothing. Losing a message is never an error of the caller: sends are best effort.
class Notifier {
 public:
  // Reads NOTIFY_SOCKET and WATCHDOG_USEC/WATCHDOG_PID once.
  static Notifier from_environment();
  Notifier() = default;
  explicit Notifier(std::string socket_address);

  bool is_enabled() const { return socket_.is_open(); }
  void ready() { send("READY=1"); }
  void stopping() { send("STOPPING=1"); }
  // One line for people, shown by `pillion status`.
  void status(std::string_view text);
  // Numbers for the stop receipt: X_PILLION_RECEIPT=requests_finished=12 requests_aborted=0
  void receipt(const std::map<std::string, long long>& numbers);
  void send(std::string_view message);

  // Half of WATCHDOG_USEC: how often to send WATCHDOG=1; empty when no watchdog is asked for.
  std::optional<Duration> watchdog_period() const { return watchdog_period_; }

 private:
  Fd socket_;
  std::string address_;
  std::optional<Duration> watchdog_period_;
};

struct NotifyMessage {
  pid_t sender_pid = 0;  // by SCM_CREDENTIALS, filled by the kernel
  uid_t sender_uid = 0;
  std::map<std::string, std::string> fields;
};

// Splits a datagram into its fields; later duplicates win, lines without '=' are skipped.
std::map<std::string, std::string> parse_notify_message(std::string_view datagram);

// Binds a notify socket at `path` (mode 0777: who may speak is decided by the sender's pid) with
// SO_PASSCRED set, non-blocking. Replaces a stale socket file.
Result<Fd> bind_notify_socket(const std::string& path);

// Reads messages from a notify socket that somebody else owns.
class NotifyReceiver {
 public:
  NotifyReceiver(Loop& loop, int socket, std::function<void(NotifyMessage)> on_message);

  // Reads what has arrived without waiting for the loop: the last words of a process come before
  // the news of its end. `on_message` runs before this returns.
  void read_all();

 private:
  int socket_;
  std::function<void(NotifyMessage)> on_message_;
  Poll poll_;
};

}  // namespace pillion
