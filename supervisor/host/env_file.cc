#include "supervisor/host/env_file.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace pillion::supervisor::host {
namespace {

constexpr std::size_t kShownBytesMax = 40;

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

bool is_name(std::string_view text) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !text.empty() && is_letter(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

char unescape(char c) { return c == 'n' ? '\n' : c == 't' ? '\t' : c; }

// `text` begins with the quote.
Result<std::string> unquote(std::string_view text) {
  const char quote = text.front();
  std::string value;
  std::size_t at = 1;
  for (; at < text.size() && text[at] != quote; ++at) {
    const bool is_escape = quote == '"' && text[at] == '\\' && at + 1 < text.size() &&
                           std::string_view("\"\\$`nt").find(text[at + 1]) != std::string::npos;
    value += is_escape ? unescape(text[++at]) : text[at];
  }
  if (at == text.size()) return fail(fmt::format("the quote {} is not closed on this line", quote));
  const std::string_view rest = trim(text.substr(at + 1));
  if (!rest.empty() && rest.front() != '#') {
    return fail(fmt::format("\"{}\" follows the closing quote; quote the value as a whole",
                            rest.substr(0, kShownBytesMax)));
  }
  return value;
}

struct Assignment {
  std::string name;
  std::string value;
};

Result<std::optional<Assignment>> parse_line(std::string_view line) {
  if (line.empty() || line.front() == '#') return std::optional<Assignment>();
  if (line.starts_with("export ") || line.starts_with("export\t")) line = trim(line.substr(7));
  const auto equals = line.find('=');
  if (equals == std::string_view::npos) {
    return fail(fmt::format("\"{}\" is not KEY=VALUE", line.substr(0, kShownBytesMax)));
  }
  const std::string_view name = trim(line.substr(0, equals));
  if (!is_name(name)) {
    return fail(fmt::format("\"{}\" is no name of a variable: letters, digits and _",
                            name.substr(0, kShownBytesMax)));
  }
  const std::string_view value = trim(line.substr(equals + 1));
  if (value.find('\0') != std::string_view::npos) return fail("the value holds a zero byte");
  if (value.empty() || (value.front() != '"' && value.front() != '\'')) {
    return std::optional(Assignment{std::string(name), std::string(value)});
  }
  auto unquoted = unquote(value);
  if (!unquoted) return fail(unquoted.error());
  return std::optional(Assignment{std::string(name), std::move(*unquoted)});
}

}  // namespace

Result<std::map<std::string, std::string>> parse_env_file(std::string_view text,
                                                          std::string_view path) {
  std::map<std::string, std::string> env;
  for (int number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    auto assignment = parse_line(trim(text.substr(0, end)));
    if (!assignment) {
      return fail(fmt::format("{}:{}: {}", path, number, assignment.error().message()));
    }
    if (*assignment) env[(*assignment)->name] = std::move((*assignment)->value);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return env;
}

}  // namespace pillion::supervisor::host
