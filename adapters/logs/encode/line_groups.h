// Which lines belong to one record: stack traces and other texts of several lines. Pure; looks at
// the first bytes of a line before anything else.
//
// A trace goes with the line that reported it ("2024-01-15 14:32:01 ERROR order failed", then the
// exception and its frames); without one it is a record of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "adapters/logs/encode/regex_format.h"

namespace pillion::logs {

enum class GroupPreset : std::uint8_t {
  Auto,  // traces of all languages
  Java,
  Python,
  Go,
  Node,
  Ruby,
  Dotnet,
  Generic,  // indented lines; after a line that starts with a time, all that do not
  Pattern,  // lines that `start` does not match
};

struct GroupRules {
  GroupPreset preset = GroupPreset::Auto;
  std::shared_ptr<RegexFormat> start;  // of Pattern; not shared between threads
  // What would go beyond either starts a record of its own.
  std::uint32_t lines_max = 500;
  std::size_t bytes_max = 256u << 10;
};

// The group that is being gathered from one stream of lines.
class LineGroup {
 public:
  explicit LineGroup(GroupRules rules) : rules_(std::move(rules)) {}

  const GroupRules& rules() const { return rules_; }
  // The first line of a group. Lines are given without "\n"; a final "\r" is not looked at.
  void begin(std::string_view line);
  // Whether the next line belongs to the group, which it then is part of.
  bool continues(std::string_view line);

 private:
  enum class Trace : std::uint8_t {
    None,
    Frames,     // "at …" lines of Java, .NET and Node.js
    Python,     // behind "Traceback …"
    PythonEnd,  // behind the exception's own line
    PythonGap,  // the blank line behind it
    PythonChain,
    GoPanic,
    GoStack,
    GoGap,
    Rails
  };

  bool is_of(GroupPreset preset) const {
    return rules_.preset == preset || rules_.preset == GroupPreset::Auto;
  }
  bool continues_frames(std::string_view line, std::string_view text);
  bool continues_python(std::string_view line, std::string_view text);
  bool continues_go(std::string_view line, std::string_view text);
  bool continues_ruby(std::string_view line, std::string_view text);
  bool continues_generic(std::string_view line) const;
  bool reports(std::string_view line) const;

  GroupRules rules_;
  Trace trace_ = Trace::None;
  std::uint32_t line_count_ = 0;
  bool is_reported_ = false;  // the first line is a log record by its look, not a trace
};

}  // namespace pillion::logs
