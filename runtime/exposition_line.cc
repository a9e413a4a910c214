#include "runtime/exposition_line.h"

#include <algorithm>

#include <fmt/format.h>

namespace pillion {
namespace {

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == ':';
}

void skip_blanks(std::string_view& text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
}

std::string_view take(std::string_view& text, std::size_t size) {
  const std::string_view front = text.substr(0, size);
  text.remove_prefix(front.size());
  return front;
}

std::string_view take_name(std::string_view& text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_name_byte);
  return take(text, static_cast<std::size_t>(end - text.begin()));
}

void read_comment(std::string_view text, ExpositionLine& line) {
  using Kind = ExpositionLine::Kind;
  const std::string_view word = take_word(text);
  if (word == "HELP") line.kind = Kind::Help;
  if (word == "TYPE") line.kind = Kind::Type;
  if (word == "UNIT") line.kind = Kind::Unit;
  if (line.kind == Kind::Nothing) return;
  skip_blanks(text);
  line.name = take_name(text);
  skip_blanks(text);
  line.text = line.kind == Kind::Help ? text : take_word(text);
}

// Takes the closing brace too.
std::optional<std::string> take_labels(std::string_view& text,
                                       std::vector<ExpositionLine::Label>& labels) {
  for (;;) {
    skip_blanks(text);
    if (text.starts_with('}')) {
      text.remove_prefix(1);
      return std::nullopt;
    }
    const std::string_view name = take_name(text);
    if (name.empty()) return "a label has no proper name";
    skip_blanks(text);
    if (!text.starts_with('=')) return fmt::format("label {} has no value", name);
    text.remove_prefix(1);
    skip_blanks(text);
    if (!text.starts_with('"')) return fmt::format("the value of label {} is not quoted", name);
    text.remove_prefix(1);
    std::size_t end = 0;
    while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size()) return fmt::format("the value of label {} does not end", name);
    labels.push_back({name, take(text, end)});
    text.remove_prefix(1);
    skip_blanks(text);
    if (text.starts_with(',')) {
      text.remove_prefix(1);
    } else if (!text.starts_with('}')) {
      return "the labels do not end";
    }
  }
}

}  // namespace

std::string_view take_word(std::string_view& text) {
  skip_blanks(text);
  return take(text, text.find_first_of(" \t"));
}

std::optional<std::string> read_exposition_line(std::string_view text, ExpositionLine& line) {
  line.kind = ExpositionLine::Kind::Nothing;
  line.name = {};
  line.labels.clear();
  skip_blanks(text);
  if (text.empty()) return std::nullopt;
  if (text.starts_with('#')) {
    read_comment(text.substr(1), line);
    return std::nullopt;
  }
  line.kind = ExpositionLine::Kind::Sample;
  line.name = take_name(text);
  if (line.name.empty()) return "does not begin with a metric's name";
  skip_blanks(text);
  if (text.starts_with('{')) {
    text.remove_prefix(1);
    if (auto problem = take_labels(text, line.labels)) return problem;
  }
  line.value = take_word(text);
  line.rest = text;
  return std::nullopt;
}

}  // namespace pillion
