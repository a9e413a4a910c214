// The client side of the control socket: blocking, with a deadline for each call. For the command
// line, never for a program with a loop.
#pragma once

#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::supervisor::control {

class ControlClient {
 public:
  // ENOENT and ECONNREFUSED in the error mean that nobody serves there.
  static Result<ControlClient> connect(const std::string& socket_path);

  // Sends one line; adds the newline.
  Result<void> send(std::string_view line, Duration timeout);
  // The next line without its newline, at most 4 MiB. ETIMEDOUT after `timeout`; an error without
  // an errno when the other side has closed.
  Result<std::string> receive(Duration timeout);
  // Both.
  Result<std::string> ask(std::string_view line, Duration timeout);

 private:
  explicit ControlClient(Fd socket) : socket_(std::move(socket)) {}

  Fd socket_;
  std::string received_;
};

}  // namespace pillion::supervisor::control
