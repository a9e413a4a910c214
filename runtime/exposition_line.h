// One line of a metrics exposition taken apart: Prometheus' text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/), and OpenMetrics 1.0.0, which is
// the same but for a few words. Finds the parts only: whether names, numbers and escapes are legal
// is for the caller to say.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pillion {

// Views of the line that was read.
struct ExpositionLine {
  enum class Kind { Nothing, Help, Type, Unit, Sample };
  struct Label {
    std::string_view name;
    std::string_view value;  // between its quotes, with its escapes
  };

  Kind kind = Kind::Nothing;  // an empty line, or a comment of no meaning
  std::string_view name;      // the metric's; may be empty in a comment
  std::string_view text;      // of Help: all the rest; of Type and Unit: a word
  // Of a sample.
  std::vector<Label> labels;
  std::string_view value;
  std::string_view rest;  // a timestamp, an exemplar
};

// The first word off the front, with the blanks before it; empty when there is none.
std::string_view take_word(std::string_view& text);

// Returns what is wrong with the line; `line.name` is set then, unless the name is what is wrong.
std::optional<std::string> read_exposition_line(std::string_view text, ExpositionLine& line);

}  // namespace pillion
