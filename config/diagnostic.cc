#include "config/diagnostic.h"

#include <algorithm>
#include "runtime/json_text.h"

namespace pillion::config {
namespace {

constexpr const char* kBold = "\x1b[1m";
constexpr const char* kRed = "\x1b[1;31m";
constexpr const char* kYellow = "\x1b[1;35m";
constexpr const char* kBlue = "\x1b[1;34m";
constexpr const char* kReset = "\x1b[0m";

std::string_view severity_name(Severity severity) {
  return severity == Severity::Error ? "error" : "warning";
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Blanks up to the column, tabs kept, so that the caret stands below its character.
std::string padding(std::string_view line, std::size_t column) {
  std::string out;
  std::size_t at = 1;
  for (const char c : line) {
    if (is_continuation(c)) continue;
    if (at++ >= column) break;
    out.push_back(c == '\t' ? '\t' : ' ');
  }
  while (at++ < column) out.push_back(' ');
  return out;
}

std::size_t characters(std::string_view line) {
  return static_cast<std::size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return !is_continuation(c); }));
}

std::string location(const Diagnostic& diagnostic) {
  if (diagnostic.position.line == 0) return diagnostic.file;
  return diagnostic.file + ":" + std::to_string(diagnostic.position.line) + ":" +
         std::to_string(diagnostic.position.column);
}

// Source lines come from a file that may hold anything: no control byte reaches the terminal.
std::string printable(std::string_view line) {
  std::string out;
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back((byte < 0x20 && c != '\t') || byte == 0x7f ? '?' : c);
  }
  return out;
}

std::string underline(const Diagnostic& diagnostic) {
  const Position& at = diagnostic.position;
  const std::size_t width = characters(diagnostic.source_line);
  const std::size_t room = width >= at.column ? width - at.column + 1 : 1;
  return "^" + std::string(std::clamp<std::size_t>(at.length, 1, room) - 1, '~');
}

std::string json_quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

}  // namespace

bool has_errors(const std::vector<Diagnostic>& diagnostics) {
  return std::any_of(diagnostics.begin(), diagnostics.end(), [](const Diagnostic& diagnostic) {
    return diagnostic.severity == Severity::Error;
  });
}

std::string format_text(const std::vector<Diagnostic>& diagnostics, bool with_colour) {
  const auto paint = [with_colour](const char* colour, const std::string& text) {
    return with_colour ? colour + text + kReset : text;
  };
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) {
    const bool is_error = diagnostic.severity == Severity::Error;
    out += paint(kBold, location(diagnostic) + ":") + " ";
    out += paint(is_error ? kRed : kYellow, std::string(severity_name(diagnostic.severity)) + ":");
    out += " " + paint(kBold, diagnostic.message) + "\n";
    std::string margin = "     ";
    if (diagnostic.position.line != 0) {
      std::string number = std::to_string(diagnostic.position.line);
      if (number.size() < 5) number.insert(0, 5 - number.size(), ' ');
      margin.assign(number.size(), ' ');
      out += paint(kBlue, number + " |") + " " + printable(diagnostic.source_line) + "\n";
      out += paint(kBlue, margin + " |") + " " +
             padding(diagnostic.source_line, diagnostic.position.column) +
             paint(is_error ? kRed : kYellow, underline(diagnostic)) + "\n";
    }
    for (const std::string& note : diagnostic.notes) {
      out += paint(kBlue, margin + " =") + " note: " + note + "\n";
    }
  }
  return out;
}

std::string format_json(const std::vector<Diagnostic>& diagnostics) {
  std::string out = "[";
  for (const Diagnostic& diagnostic : diagnostics) {
    out += out.size() > 1 ? ",\n " : "\n ";
    out += "{\"severity\": " + json_quoted(severity_name(diagnostic.severity));
    out += ", \"file\": " + json_quoted(diagnostic.file);
    out += ", \"line\": " + std::to_string(diagnostic.position.line);
    out += ", \"column\": " + std::to_string(diagnostic.position.column);
    out += ", \"length\": " + std::to_string(diagnostic.position.length);
    out += ", \"message\": " + json_quoted(diagnostic.message);
    out += ", \"notes\": [";
    for (std::size_t i = 0; i < diagnostic.notes.size(); ++i) {
      out += (i == 0 ? "" : ", ") + json_quoted(diagnostic.notes[i]);
    }
    out += "]}";
  }
  return out + (diagnostics.empty() ? "]\n" : "\n]\n");
}

}  // namespace pillion::config
