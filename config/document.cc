// toml++ stops at the first syntax error. To report all of them, the offending line is taken out
// and the text parsed again; `Recovery` decides which line that is.
#include "config/document.h"

#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "config/recovery.h"

namespace pillion::config {
namespace {

constexpr int kSyntaxErrorsMax = 20;
// Key of the table that stands for a table whose header could not be read.
constexpr std::string_view kSkippedTable = "\x01skipped";

Position position_of(const toml::source_region& region) {
  Position position{region.begin.line, region.begin.column, 1};
  if (region.end.line == region.begin.line && region.end.column > region.begin.column) {
    position.length = region.end.column - region.begin.column;
  }
  return position;
}

Node convert(const toml::node& source);

Node convert_table(const toml::table& source) {
  Node node = Node::table();
  for (const auto& [key, value] : source) {
    if (key.str().starts_with(kSkippedTable)) continue;
    node.entries.push_back({std::string(key.str()), position_of(key.source()), convert(value)});
  }
  // toml++ sorts keys; the source order matters for children.
  std::stable_sort(node.entries.begin(), node.entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.position.line, a.position.column) <
           std::pair(b.position.line, b.position.column);
  });
  return node;
}

template<class T>
std::string written(const T& value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

Node convert_value(const toml::node& source) {
  if (const auto* text = source.as_string()) return Node::string(text->get());
  if (const auto* integer = source.as_integer()) return Node::of(integer->get());
  if (const auto* number = source.as_floating_point()) return Node::of(number->get());
  if (const auto* boolean = source.as_boolean()) return Node::of(boolean->get());
  Node node;
  node.kind = Node::Kind::Time;
  if (const auto* date = source.as_date()) node.text = written(date->get());
  if (const auto* time = source.as_time()) node.text = written(time->get());
  if (const auto* date_time = source.as_date_time()) node.text = written(date_time->get());
  return node;
}

Node convert(const toml::node& source) {
  Node node;
  if (const auto* table = source.as_table()) {
    node = convert_table(*table);
  } else if (const auto* array = source.as_array()) {
    node = Node::array();
    for (const toml::node& item : *array) node.items.push_back(convert(item));
  } else {
    node = convert_value(source);
  }
  node.position = position_of(source.source());
  return node;
}

}  // namespace

Node Node::string(std::string value) {
  Node node;
  node.kind = Kind::String;
  node.text = std::move(value);
  return node;
}

Node Node::of(std::int64_t value) {
  Node node;
  node.kind = Kind::Integer;
  node.integer = value;
  return node;
}

Node Node::of(double value) {
  Node node;
  node.kind = Kind::Number;
  node.number = value;
  return node;
}

Node Node::of(bool value) {
  Node node;
  node.kind = Kind::Boolean;
  node.boolean = value;
  return node;
}

Node Node::array() {
  Node node;
  node.kind = Kind::Array;
  return node;
}

Node Node::table() { return Node{}; }

const Entry* Node::find_entry(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

const Node* Node::find(std::string_view key) const {
  const Entry* entry = find_entry(key);
  return entry == nullptr ? nullptr : &entry->value;
}

void Node::add(std::string_view key, Node value) {
  entries.push_back({std::string(key), {}, std::move(value)});
}

std::string_view describe(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::String: return "a string";
    case Node::Kind::Integer: return "an integer";
    case Node::Kind::Number: return "a number";
    case Node::Kind::Boolean: return "a boolean";
    case Node::Kind::Time: return "a date or time";
    case Node::Kind::Array: return "an array";
    case Node::Kind::Table: return "a table";
  }
  return "a value";
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

Document parse_document(std::string_view text, const std::string& filename,
                        std::vector<Diagnostic>& diagnostics) {
  Document document;
  Recovery recovery(text, filename, kSkippedTable);
  for (int attempt = 0; attempt <= kSyntaxErrorsMax; ++attempt) {
    try {
      const toml::table table = toml::parse(recovery.text());
      document.root = convert(table);
      document.root.position = {1, 1, 1};
      break;
    } catch (const toml::parse_error& error) {
      document.is_partial = true;
      const Position at = position_of(error.source());
      if (attempt == kSyntaxErrorsMax) {
        diagnostics.push_back(recovery.too_many(at));
        break;
      }
      diagnostics.push_back(recovery.take_out(at, error.description()));
    }
  }
  return document;
}

}  // namespace pillion::config
