#include "config/recovery.h"

#include <algorithm>

#include "config/document.h"

namespace pillion::config {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool is_header(std::string_view line) { return trim(line).starts_with('['); }

// The key of a line "key = value", empty when it has not that shape.
std::string_view statement_key(std::string_view line) {
  line = trim(line);
  const std::size_t equals = line.find('=');
  if (equals == std::string_view::npos || equals == 0) return {};
  const std::string_view key = trim(line.substr(0, equals));
  const bool is_key = std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-.\"' ").find(c) != std::string_view::npos;
  });
  return is_key ? key : std::string_view{};
}

// Opening minus closing brackets outside strings and comments.
int bracket_balance(std::string_view line) {
  int balance = 0;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0) {
      if (c == '\\' && quote == '"') ++i;
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '#') {
      break;
    } else if (c == '[' || c == '{') {
      ++balance;
    } else if (c == ']' || c == '}') {
      --balance;
    }
  }
  return balance;
}

// "Error while parsing key-value pair: expected '=', saw '\n'" → "expected '=', saw '\n'"
std::string_view without_preamble(std::string_view message) {
  if (!message.starts_with("Error while parsing")) return message;
  const std::size_t colon = message.find(": ");
  return colon == std::string_view::npos ? message : message.substr(colon + 2);
}

bool ends_a_line(std::string_view line, std::size_t column) { return column > line.size(); }

// toml++'s wording, made fit for people.
std::string reworded(std::string_view message, std::string_view line, std::size_t column) {
  const bool is_control = message.find("control characters other than TAB") != std::string::npos;
  if (is_control && ends_a_line(line, column)) return "this string is not closed";
  if (message.find("utf-8") != std::string::npos) return "this is not valid UTF-8";
  std::string text(message);
  if (const std::size_t at = text.find("'\\n'"); at != std::string::npos) {
    text.replace(at, 4, "the end of the line");
  }
  if (!text.empty() && text.front() >= 'A' && text.front() <= 'Z') {
    text.front() = static_cast<char>(text.front() - 'A' + 'a');
  }
  return text;
}

// The name in "cannot redefine existing string 'user'", empty for other messages.
std::string_view redefined_name(std::string_view message) {
  if (!message.starts_with("cannot redefine")) return {};
  const std::size_t open = message.find('\'');
  const std::size_t close = message.rfind('\'');
  return open == close ? std::string_view{} : message.substr(open + 1, close - open - 1);
}

}  // namespace

Recovery::Recovery(std::string_view text, std::string filename, std::string_view skipped_table)
    : filename_(std::move(filename)), skipped_table_(skipped_table) {
  for (const std::string_view line : split_lines(text)) original_.emplace_back(line);
  lines_ = original_;
}

std::string Recovery::text() const {
  std::string text;
  for (const std::string& line : lines_) text.append(line).push_back('\n');
  return text;
}

Diagnostic Recovery::diagnostic(Position at, std::string message) const {
  Diagnostic diagnostic{Severity::Error, filename_, at, std::move(message), "", {}};
  if (at.line >= 1 && at.line <= original_.size()) diagnostic.source_line = original_[at.line - 1];
  return diagnostic;
}

bool Recovery::is_blank(std::size_t line) const { return trim(lines_[line - 1]).empty(); }

std::size_t Recovery::unclosed_before(std::size_t line) const {
  int balance = 0;
  for (std::size_t i = line - 1; i >= 1; --i) {
    const std::string& candidate = lines_[i - 1];
    const bool starts = is_header(candidate) || !statement_key(candidate).empty();
    balance += bracket_balance(candidate);
    if (starts) return balance > 0 ? i : 0;
  }
  return 0;
}

void Recovery::blank(std::size_t first, std::size_t last) {
  for (std::size_t i = first; i <= last; ++i) lines_[i - 1].clear();
}

std::size_t Recovery::first_definition(std::size_t line) const {
  const std::string_view wanted = lines_[line - 1];
  const bool wants_header = is_header(wanted);
  for (std::size_t i = line - 1; i >= 1; --i) {
    const std::string_view candidate = lines_[i - 1];
    if (wants_header && trim(candidate) == trim(wanted)) return i;
    if (wants_header) continue;
    if (is_header(candidate)) return 0;
    const std::string_view key = statement_key(candidate);
    if (!key.empty() && key == statement_key(wanted)) return i;
  }
  return 0;
}

Diagnostic Recovery::take_out(Position at, std::string_view parser_message) {
  at.line = std::clamp<std::size_t>(at.line, 1, lines_.size());
  const std::string_view message = without_preamble(parser_message);
  std::size_t line = at.line;
  while (line > 1 && is_blank(line)) --line;  // "unexpected end of file": the last line with text

  const bool is_statement =
      is_header(lines_[line - 1]) || !statement_key(lines_[line - 1]).empty() || line != at.line;
  const std::size_t open_line =
      is_statement ? unclosed_before(line == at.line ? line : line + 1) : 0;
  if (open_line != 0) {
    const std::size_t column = lines_[open_line - 1].find_first_of("[{") + 1;
    Diagnostic result = diagnostic({open_line, column, 1}, "this bracket is never closed");
    blank(open_line, line == at.line ? line - 1 : line);
    return result;
  }

  const std::string_view name = redefined_name(message);
  if (const std::size_t key = lines_[line - 1].find(name);
      !name.empty() && key != std::string::npos) {
    at = {line, key + 1, name.size()};
  }
  Diagnostic result =
      diagnostic(at, name.empty() ? reworded(message, lines_[at.line - 1], at.column)
                                  : "`" + std::string(name) + "` is defined twice");
  const std::size_t first = name.empty() ? 0 : first_definition(line);
  if (first != 0) result.notes.push_back("first defined on line " + std::to_string(first));
  if (is_header(lines_[line - 1])) {
    lines_[line - 1] =
        "[\"\\u0001" + skipped_table_.substr(1) + std::to_string(skipped_count_++) + "\"]";
  } else {
    blank(line, line);
  }
  return result;
}

Diagnostic Recovery::too_many(Position at) const {
  return diagnostic(at, "too many syntax errors; stopping here");
}

}  // namespace pillion::config
