// Getting past a syntax error: which lines to take out of a TOML text so that the rest can be
// parsed, and how to word the problem. Knows TOML's line structure, not its grammar.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"

namespace pillion::config {

class Recovery {
 public:
  // `skipped_table` starts the keys under which tables with an unreadable header are parked; its
  // first character is U+0001, which nobody writes.
  Recovery(std::string_view text, std::string filename, std::string_view skipped_table);

  // What to parse next. Lines keep their numbers.
  std::string text() const;

  // Blanks what the parser stumbled over and says so.
  Diagnostic take_out(Position at, std::string_view parser_message);
  Diagnostic too_many(Position at) const;

 private:
  Diagnostic diagnostic(Position at, std::string message) const;
  bool is_blank(std::size_t line) const;
  // The line of a bracket that is still open before `line`, 0 without one.
  std::size_t unclosed_before(std::size_t line) const;
  void blank(std::size_t first, std::size_t last);
  std::size_t first_definition(std::size_t line) const;

  std::string filename_;
  std::string skipped_table_;
  std::vector<std::string> original_;
  std::vector<std::string> lines_;
  std::size_t skipped_count_ = 0;
};

}  // namespace pillion::config
