// A TOML document as a tree that keeps source order and positions. The only place that knows toml++
// is document.cc; everything else in config/ reads and writes this tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"

namespace pillion::config {

struct Entry;

struct Node {
  enum class Kind { String, Integer, Number, Boolean, Time, Array, Table };
  Kind kind = Kind::Table;
  Position position;
  // A problem with this value has been reported already: read no further into it.
  bool is_bad = false;
  // The string came out of a ${VAR}, so it may stand for a number or a boolean.
  bool is_expanded = false;
  std::string text;  // String; written form for Time
  std::int64_t integer = 0;
  double number = 0;
  bool boolean = false;
  std::vector<Node> items;     // Array
  std::vector<Entry> entries;  // Table, in source order

  static Node string(std::string value);
  static Node of(std::int64_t value);
  static Node of(double value);
  static Node of(bool value);
  static Node array();
  static Node table();

  // Null without such a key.
  const Node* find(std::string_view key) const;
  const Entry* find_entry(std::string_view key) const;
  void add(std::string_view key, Node value);
};

struct Entry {
  std::string key;
  Position position;  // of the key
  Node value;
};

// "an integer", "a string", …
std::string_view describe(Node::Kind kind);

struct Document {
  Node root;
  // True when lines had to be skipped, so that what looks missing may be in them.
  bool is_partial = false;
};

// Parses `text`. A syntax error or duplicate key is reported, its line blanked and the text parsed
// again, at most 20 times; `root` holds what could be read.
Document parse_document(std::string_view text, const std::string& filename,
                        std::vector<Diagnostic>& diagnostics);

// The lines of a text, without their newlines.
std::vector<std::string_view> split_lines(std::string_view text);

// One value as it stands after `key = `.
std::string write_value(const Node& value);
// TOML text of a table: scalars first, then sub-tables under their headers. Every "${" in a value
// is written as "$${", so that loading gives the same value.
std::string write_document(const Node& root);
// The same below `path`, beginning with its header; an empty path has none.
std::string write_section(const Node& table, const std::string& path);

}  // namespace pillion::config
