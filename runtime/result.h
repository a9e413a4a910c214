// What a function that can fail returns. Errors that traffic, the environment or a peer can cause
// are values; broken promises of our own code are assertions (see PILLION_ASSERT).
//
// An Error's message is one sentence fragment without a final period, ready for a person:
// "cannot open /etc/pillion/orders.toml: no such file or directory". Each layer adds its context
// once, with `Error::wrap`; it is logged where it is handled, never logged *and* returned.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace pillion {

class Error {
 public:
  explicit Error(std::string message, int errno_value = 0)
      : message_(std::move(message)), errno_value_(errno_value) {}

  // "<what>: <text of errno_value>", for a failed system call.
  static Error from_errno(std::string_view what, int errno_value);

  const std::string& message() const { return message_; }

  // The errno behind the error, 0 when there is none.
  int errno_value() const { return errno_value_; }

  // The same error with "<context>: " before it.
  Error wrap(std::string_view context) const;

 private:
  std::string message_;
  int errno_value_ = 0;
};

// A value or an Error. `if (!result) return fail(result.error());`
template<class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(tl::unexpected<Error> error) : tl::expected<T, Error>(std::move(error)) {}
};

inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }
inline tl::unexpected<Error> fail(std::string message) { return fail(Error(std::move(message))); }

// An Error of the current `errno`; call it before anything else can change errno.
tl::unexpected<Error> fail_errno(std::string_view what);

// Ends the process with file, line and reason; for PILLION_ASSERT only.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace pillion

// A promise that our own code makes; kept in release builds. Never for input.
#define PILLION_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : ::pillion::assertion_failed(#condition, __FILE__, __LINE__))
