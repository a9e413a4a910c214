// The client side of the control socket: one HTTP/1.1 exchange per connection, blocking, with a
// deadline for each call. For the command line, never for a program with a loop.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::supervisor::control {

struct ControlReply {
  int status = 0;
  std::string body;
};

class ControlClient {
 public:
  // ENOENT and ECONNREFUSED in the error mean that nobody serves there.
  static Result<ControlClient> connect(const std::string& socket_path);

  // Sends one request and reads the whole answer, at most 16 MiB. ETIMEDOUT after `timeout`;
  // ECONNRESET when the other side has closed before its answer was complete.
  Result<ControlReply> ask(std::string_view method, std::string_view target, std::string_view body,
                           Duration timeout);

  // GET of a stream: `on_line` gets each line without its newline until it returns false or the
  // stream ends. The head must come within `timeout`; then each line may take any time. An answer
  // that is not 200 is returned without a call of `on_line`, else the body is empty.
  Result<ControlReply> follow(std::string_view target, Duration timeout,
                              const std::function<bool(std::string_view line)>& on_line);

 private:
  class Exchange;
  explicit ControlClient(Fd socket) : socket_(std::move(socket)) {}

  Fd socket_;
};

}  // namespace pillion::supervisor::control
