#include "runtime/result.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pillion {

Error Error::from_errno(std::string_view what, int errno_value) {
  char buffer[128];
  // GNU strerror_r: thread-safe, may return a static string instead of filling the buffer.
  const char* text = strerror_r(errno_value, buffer, sizeof buffer);
  std::string message(what);
  message += ": ";
  message += text;
  return Error(std::move(message), errno_value);
}

Error Error::wrap(std::string_view context) const {
  std::string message(context);
  message += ": ";
  message += message_;
  return Error(std::move(message), errno_value_);
}

tl::unexpected<Error> fail_errno(std::string_view what) {
  return fail(Error::from_errno(what, errno));
}

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace pillion
