// The control socket: HTTP/1.1 and JSON over a Unix stream socket that the keeper owns. Only root
// and our own user are let in. Everything is bounded: connections, request size, waiting output;
// clients that send rubbish, stall or do not read are dropped.
#pragma once

#include <cstddef>

#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/http_server.h"
#include "runtime/loop.h"
#include "supervisor/control/api.h"

namespace pillion::supervisor::control {

struct ControlLimits {
  std::size_t connections_max = 64;
  // Of these, how many may wait for what they asked for, or follow events; a stop is let in a
  // little longer than others. The rest is for who is answered at once.
  std::size_t waiters_max = 48;
  std::size_t stoppers_max = 56;
  std::size_t output_bytes_max = 1u << 20;  // of a stream, waiting for one client
  // For a whole request to arrive, and for an answer to be taken.
  Duration client_timeout = std::chrono::seconds(10);
};

class ControlServer {
 public:
  // `listener` is a listening, non-blocking Unix stream socket. `api` must outlive the server.
  ControlServer(Loop& loop, Fd listener, const Api& api, ControlLimits limits = {});

  std::size_t connections() const { return server_.connections(); }

 private:
  HttpServer server_;
};

}  // namespace pillion::supervisor::control
