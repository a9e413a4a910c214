// A regular expression (PCRE2) over bytes, with a bound on the work of one search. Shared by the
// workers: searching changes nothing in it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/result.h"

struct pcre2_real_code_8;

namespace pillion::proxy {

// What was found: [0] all of it, then the groups; unset ones are empty.
using Captures = std::array<std::string, 10>;

class Pattern {
 public:
  enum class Found : std::uint8_t { Yes, No, TooMuchWork };

  // Fails with the place and the reason when the expression is malformed.
  static Result<Pattern> compile(std::string_view expression);

  Found search(std::string_view text, Captures& captures) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Pattern(pcre2_real_code_8* code) : code_(code) {}

  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace pillion::proxy
