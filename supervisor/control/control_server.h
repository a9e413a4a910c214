// The server side of the control socket: newline-delimited JSON over a Unix stream socket that the
// keeper owns. Only root and our own user are let in. Everything is bounded: connections, request
// size, waiting output; clients that send rubbish, stall or do not read are dropped.
//
// A client may send several requests, one after the other. `stop` is answered at once, and a second
// time with the receipt when the service has ended; such a client is never called idle.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "runtime/clock.h"
#include "runtime/loop.h"
#include "supervisor/control/status_report.h"

namespace pillion::supervisor::control {

struct ControlHandlers {
  std::function<StatusReport()> on_status;
  // May call finish() before it returns.
  std::function<void(std::optional<Duration> grace)> on_stop;
};

struct ControlLimits {
  std::size_t connections_max = 64;
  std::size_t output_bytes_max = 1u << 20;
  // For a whole request to arrive, and for a reply to be taken.
  Duration client_timeout = std::chrono::seconds(10);
};

class ControlServer {
 public:
  // `listener` is a listening, non-blocking Unix stream socket; borrowed, must outlive the server.
  ControlServer(Loop& loop, int listener, ControlHandlers handlers, ControlLimits limits = {});
  ~ControlServer();

  // Sends the receipt to every client that waits for the end of a stop. Written at once, as far as
  // the sockets take it: the process may exit next.
  void finish(const core::Receipt& receipt);

  std::size_t connections() const { return connections_.size(); }

 private:
  class Connection;

  void on_connectable();
  void remove(Connection* connection);
  std::string answer(std::string_view line, Connection& connection);

  Loop& loop_;
  int listener_;
  ControlHandlers handlers_;
  ControlLimits limits_;
  std::list<std::unique_ptr<Connection>> connections_;
  Poll accept_poll_;
  // The receipt, once there is one: a stop that comes later is answered with it.
  std::optional<std::string> receipt_;
};

}  // namespace pillion::supervisor::control
