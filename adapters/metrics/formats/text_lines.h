// Numbers out of plain text: lines that a regular expression (PCRE2) matches.
#pragma once

#include <memory>
#include <string_view>

#include "adapters/metrics/model/family.h"
#include "config/metrics.h"
#include "runtime/result.h"

namespace pillion::metrics {

// Compiled rules. May be used from any one thread at a time.
class TextLines {
 public:
  // An error names the expression and the place in it.
  static Result<TextLines> compile(const config::TextInput& config);
  TextLines(TextLines&&) noexcept;
  TextLines& operator=(TextLines&&) noexcept;
  ~TextLines();

  // An error when no line matches any rule.
  Result<Families> parse(std::string_view text) const;

 private:
  struct Rules;
  explicit TextLines(std::unique_ptr<Rules> rules);
  std::unique_ptr<Rules> rules_;
};

}  // namespace pillion::metrics
