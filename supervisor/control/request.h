// The requests of the control socket: one JSON object per line.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "runtime/result.h"

namespace pillion::supervisor::control {

enum class Command { Status, Stop };

struct Request {
  Command command = Command::Status;
  std::optional<Duration> grace;  // of Stop
};

// The longest request line, newline included.
inline constexpr std::size_t kRequestBytesMax = 64 * 1024;

// The error is a sentence for the client.
Result<Request> parse_request(std::string_view line);
std::string to_json(const Request& request);

// {"error":"…"}
std::string error_json(std::string_view message);
// The message of such a reply; empty for any other.
std::optional<std::string> parse_error(std::string_view json);

}  // namespace pillion::supervisor::control
