// Writes a tree as TOML that people read: one key per line, short arrays on one line, tables under
// their headers.
#include <algorithm>
#include <charconv>
#include <cstdio>

#include "config/document.h"

namespace pillion::config {
namespace {

constexpr std::size_t kLineWidth = 100;

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", static_cast<unsigned>(byte));
      out += escape;
    } else if (c == '$' && i + 1 < text.size() && text[i + 1] == '{') {
      out += "$$";
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}

// Keys are not expanded, so "${" stays as it is in them.
std::string key_text(std::string_view key) {
  const bool is_bare = !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
  if (is_bare) return std::string(key);
  std::string text = quoted(key);
  for (std::size_t at = text.find("$${"); at != std::string::npos; at = text.find("$${", at + 2)) {
    text.erase(at, 1);
  }
  return text;
}

std::string number_text(double number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  std::string out(text, end);
  if (out.find_first_of(".en") == std::string::npos) out += ".0";
  return out;
}

std::string inline_text(const Node& node);

std::string array_text(const Node& node, std::size_t indent) {
  std::string one_line = "[";
  for (const Node& item : node.items) {
    if (one_line.size() > 1) one_line += ", ";
    one_line += inline_text(item);
  }
  one_line += "]";
  if (indent + one_line.size() <= kLineWidth || node.items.size() < 2) return one_line;
  std::string lines = "[\n";
  for (const Node& item : node.items) lines += "  " + inline_text(item) + ",\n";
  return lines + "]";
}

std::string inline_text(const Node& node) {
  switch (node.kind) {
    case Node::Kind::String: return quoted(node.text);
    case Node::Kind::Integer: return std::to_string(node.integer);
    case Node::Kind::Number: return number_text(node.number);
    case Node::Kind::Boolean: return node.boolean ? "true" : "false";
    case Node::Kind::Time: return node.text;
    case Node::Kind::Array: return array_text(node, 0);
    case Node::Kind::Table: break;
  }
  std::string text = "{";
  for (const Entry& entry : node.entries) {
    text += text.size() > 1 ? ", " : " ";
    text += key_text(entry.key) + " = " + inline_text(entry.value);
  }
  return text + (text.size() > 1 ? " }" : "}");
}

bool is_table_array(const Node& node) {
  return node.kind == Node::Kind::Array && !node.items.empty() &&
         node.items.front().kind == Node::Kind::Table;
}

bool needs_header(const Node& node) {
  return (node.kind == Node::Kind::Table && !node.entries.empty()) || is_table_array(node);
}

std::string join(const std::string& path, std::string_view key) {
  return path.empty() ? key_text(key) : path + "." + key_text(key);
}

void write_body(const Node& table, const std::string& path, std::string& out) {
  for (const Entry& entry : table.entries) {
    if (needs_header(entry.value)) continue;
    const std::string start = key_text(entry.key) + " = ";
    out += start;
    out += entry.value.kind == Node::Kind::Array ? array_text(entry.value, start.size())
                                                 : inline_text(entry.value);
    out += "\n";
  }
  for (const Entry& entry : table.entries) {
    if (!needs_header(entry.value)) continue;
    const std::string below = join(path, entry.key);
    if (entry.value.kind == Node::Kind::Table) {
      out += write_section(entry.value, below);
      continue;
    }
    for (const Node& item : entry.value.items) {
      out += "\n[[" + below + "]]\n";
      write_body(item, below, out);
    }
  }
}

}  // namespace

std::string write_value(const Node& value) { return inline_text(value); }

std::string write_section(const Node& table, const std::string& path) {
  std::string out;
  // A table that only holds tables needs no header of its own.
  const bool has_own_keys = std::any_of(table.entries.begin(), table.entries.end(),
                                        [](const Entry& e) { return !needs_header(e.value); });
  if (!path.empty() && (has_own_keys || table.entries.empty())) out = "\n[" + path + "]\n";
  write_body(table, path, out);
  return out;
}

std::string write_document(const Node& root) {
  std::string text = write_section(root, "");
  if (text.starts_with('\n')) text.erase(0, 1);
  return text;
}

}  // namespace pillion::config
