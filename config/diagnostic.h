// A problem in a configuration file, told like a good compiler tells it: where, what, what is
// legal, and the nearest valid name.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pillion::config {

// One place in a file; lines and columns count from 1, columns in characters (code points).
struct Position {
  std::size_t line = 0;  // 0 = the file as a whole
  std::size_t column = 0;
  std::size_t length = 1;  // characters to underline on that line
  bool operator==(const Position&) const = default;
};

enum class Severity { Error, Warning };

struct Diagnostic {
  Severity severity = Severity::Error;
  std::string file;
  Position position;
  std::string message;             // "unknown key `prot` in [app]"
  std::string source_line;         // without its newline; empty when position.line is 0
  std::vector<std::string> notes;  // "did you mean `ports`?"
  bool operator==(const Diagnostic&) const = default;
};

bool has_errors(const std::vector<Diagnostic>& diagnostics);

// orders.toml:3:1: error: unknown key `prot` in [app]
//     3 | prot = 8080
//       | ^~~~
//       = note: did you mean `ports`?
std::string format_text(const std::vector<Diagnostic>& diagnostics, bool with_colour = false);

// An array of {severity, file, line, column, length, message, notes}, for editors and CI; ends with
// a newline.
std::string format_json(const std::vector<Diagnostic>& diagnostics);

}  // namespace pillion::config
