// Finds what must not leave in the texts of records, whatever the field's name: card numbers,
// e-mail addresses, credentials, and what expressions of one's own match.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/encode/regex_format.h"
#include "runtime/result.h"

namespace pillion::logs {

class TextRedaction {
 public:
  // Each of `kinds` is "cards", "emails", "secrets", or a regular expression (PCRE2) between
  // slashes, of whose matches everything is replaced. The error names the one that is wrong.
  static Result<std::shared_ptr<TextRedaction>> compile(const std::vector<std::string>& kinds);

  // Replaces what is found in `json_string` (with its quotes) by [REDACTED]; false when nothing was
  // found and `json_string` is as it should be. `out` gets the new JSON string.
  bool apply(std::string_view json_string, std::string& out);

 private:
  struct Rule {
    std::shared_ptr<RegexFormat> expression;
    bool is_card = false;  // counts only when its check digit is right (ISO/IEC 7812, Luhn)
    char needed = 0;       // a byte without which there is no match; 0 = none known
  };

  bool redact(std::string& text);

  std::vector<Rule> rules_;
};

// Whether the digits of `text` (blanks and dashes between them) are 13 to 19 and end in a right
// check digit.
bool is_card_number(std::string_view text);

}  // namespace pillion::logs
