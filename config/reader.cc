#include "config/reader.h"

#include <algorithm>

namespace pillion::config {
namespace {

bool is_variable_name(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  if (name.empty() || !is_letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

// Columns count characters, bytes are what find() gives.
std::size_t byte_of_column(std::string_view line, std::size_t column) {
  std::size_t byte = 0;
  for (std::size_t at = 1; byte < line.size(); ++byte) {
    if ((static_cast<unsigned char>(line[byte]) & 0xc0) == 0x80) continue;
    if (at++ == column) break;
  }
  return byte;
}

std::size_t column_of_byte(std::string_view line, std::size_t byte) {
  return 1 + static_cast<std::size_t>(std::count_if(
                 line.begin(), line.begin() + static_cast<std::ptrdiff_t>(byte),
                 [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Edit distance with transpositions (optimal string alignment).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), current(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({replace, last[j] + 1, current[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before_last[j - 2] + 1);
      }
    }
    before_last.swap(last);
    last.swap(current);
  }
  return last[b.size()];
}

}  // namespace

Reader::Reader(const LoadOptions& options, std::string filename,
               std::vector<std::string_view> lines, std::vector<Diagnostic>& diagnostics)
    : options_(options),
      filename_(std::move(filename)),
      lines_(std::move(lines)),
      diagnostics_(diagnostics) {}

void Reader::error(const Position& at, std::string message, std::vector<std::string> notes) {
  add(Severity::Error, at, std::move(message), std::move(notes));
}

void Reader::warning(const Position& at, std::string message, std::vector<std::string> notes) {
  add(Severity::Warning, at, std::move(message), std::move(notes));
}

void Reader::missing(const Position& at, std::string message, std::vector<std::string> notes) {
  if (!is_partial_) error(at, std::move(message), std::move(notes));
}

void Reader::add(Severity severity, const Position& at, std::string message,
                 std::vector<std::string> notes) {
  diagnostics_.push_back({severity, filename_, at, std::move(message),
                          std::string(source_line(at.line)), std::move(notes)});
}

std::string Reader::table_name() const {
  if (path_.empty()) return "the file";
  std::string name = "[";
  for (const std::string& part : path_) name += (name.size() > 1 ? "." : "") + part;
  return name + "]";
}

std::string_view Reader::source_line(std::size_t line) const {
  return line >= 1 && line <= lines_.size() ? lines_[line - 1] : std::string_view{};
}

void Reader::expand_variables(Node& node) {
  if (node.kind == Node::Kind::String) expand_string(node);
  for (Node& item : node.items) expand_variables(item);
  for (Entry& entry : node.entries) expand_variables(entry.value);
}

void Reader::expand_string(Node& node) {
  std::string_view rest = node.text;
  if (rest.find("${") == std::string_view::npos) return;
  std::string out;
  Position search_from = node.position;
  while (!rest.empty()) {
    const std::size_t dollar = rest.find("${");
    if (dollar == std::string_view::npos) break;
    out += rest.substr(0, dollar);
    if (out.ends_with('$')) {  // "$${" is a literal "${"
      out += "{";
      rest.remove_prefix(dollar + 2);
      continue;
    }
    rest.remove_prefix(dollar);
    const std::size_t close = rest.find('}');
    const std::string_view whole = rest.substr(0, close == std::string_view::npos ? 2 : close + 1);
    const Position at = find_in_source(search_from, whole);
    search_from = {at.line, at.column + at.length, 1};
    const auto value = close == std::string_view::npos
                           ? value_of("", at)
                           : value_of(whole.substr(2, whole.size() - 3), at);
    node.is_bad = node.is_bad || !value;
    node.is_expanded = true;
    out += value.value_or("");
    rest.remove_prefix(whole.size());
  }
  node.text = out.append(rest);
}

std::optional<std::string> Reader::value_of(std::string_view reference, const Position& at) {
  const std::size_t separator = reference.find(":-");
  const std::string name(reference.substr(0, separator));
  if (!is_variable_name(name)) {
    error(at, "this is not a variable",
          {"write `${NAME}` or `${NAME:-default}`; `$${` is a literal `${`"});
    return std::nullopt;
  }
  const auto value = options_.lookup_env ? options_.lookup_env(name) : std::nullopt;
  if (value && !value->empty()) return value;
  if (separator != std::string_view::npos) return std::string(reference.substr(separator + 2));
  error(at, "the environment variable `" + name + "` is " + (value ? "empty" : "not set"),
        {"set it, or give a default: `${" + name + ":-value}`"});
  return std::nullopt;
}

Position Reader::find_in_source(const Position& from, std::string_view text) const {
  std::size_t column = from.column;
  // A multi-line string: its text may begin some lines further down.
  for (std::size_t line = from.line; line <= lines_.size() && line < from.line + 1000; ++line) {
    const std::string_view source = source_line(line);
    const std::size_t found = source.find(text, byte_of_column(source, column));
    if (found != std::string_view::npos) {
      return {line, column_of_byte(source, found), std::max<std::size_t>(text.size(), 1)};
    }
    column = 1;
  }
  return from;
}

std::string_view nearest(std::string_view name, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(1, name.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const std::size_t candidate_distance = distance(name, candidate);
    if (candidate_distance < best_distance && candidate_distance < candidate.size()) {
      best = candidate;
      best_distance = candidate_distance;
    }
  }
  if (!best.empty() || name.size() < 4) return best;
  // Shortened or lengthened: `workingdir`, `grace`.
  for (const std::string_view candidate : candidates) {
    const bool is_part = candidate.find(name) != std::string_view::npos;
    const std::size_t shared = std::min<std::size_t>(name.size(), 6);
    if (is_part || candidate.substr(0, shared) == name.substr(0, 6)) return candidate;
  }
  return best;
}

std::string list_names(const std::vector<std::string_view>& names, std::string_view conjunction) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0 && i + 1 == names.size()) {
      text += " " + std::string(conjunction) + " ";
    } else if (i != 0) {
      text += ", ";
    }
    text += "`" + std::string(names[i]) + "`";
  }
  return text;
}

}  // namespace pillion::config
