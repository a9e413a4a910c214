// How a command asks a running service: one call of the control API, errors ready for a person.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "runtime/result.h"
#include "supervisor/control/control_client.h"

namespace pillion::supervisor::cli {

// The supervisor answers within a loop round; a restart of it takes about a second.
inline constexpr Duration kAnswerTimeout = std::chrono::seconds(10);

// `service` is a name or the path of a service file. Returns the JSON text of a 2xx answer. Errors:
// nobody serves there (errno ENOENT, the message says what to do), the API's own refusal (EPROTO),
// no answer (ETIMEDOUT), closed before the answer was complete (ECONNRESET). A GET that meets a
// restarting supervisor is asked again.
Result<std::string> call_api(const std::string& service, std::string_view method,
                             std::string_view target, std::string_view body = {},
                             Duration timeout = kAnswerTimeout);

// As call_api(), but an answer that refuses is no error: for one that says more than a sentence.
Result<control::ControlReply> ask_api(const std::string& service, std::string_view method,
                                      std::string_view target, std::string_view body,
                                      Duration timeout = kAnswerTimeout);
// What an answer that is not 2xx says.
Error refusal_of(const control::ControlReply& reply);

// GET of a stream of lines; `on_line` returns false to end it. Empty lines are left out.
Result<void> follow_api(const std::string& service, std::string_view target,
                        const std::function<bool(std::string_view line)>& on_line);

// "a b" → "a%20b", for names and values in a target.
std::string encode_for_target(std::string_view text);

// Prints "pillion: …" to stderr; returns the exit code that fits.
int complain(const Error& error);

}  // namespace pillion::supervisor::cli
