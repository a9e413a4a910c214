// How one value of type T is read from a tree, written back and described. Tables (structs with a
// schema) are the general case; units, enumerations, lists and maps are specialisations.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "config/names.h"
#include "config/network.h"
#include "config/schema.h"
#include "config/units.h"

namespace pillion::config {

// Values that the file writes as one string: name, legal forms and both directions. Specialised in
// codec_units.cc's header part below.
template<class T>
struct TextForm;

template<class T>
concept HasTextForm = requires {
  TextForm<T>::name;
};
template<class T>
concept HasNames = requires {
  EnumNames<T>::table;
};

// Reports that a value is of the wrong kind or outside its range. `legal` says what would be right.
void report_kind(Reader& reader, const Node& node, std::string_view key, std::string_view legal);
void report_text(Reader& reader, const Node& node, std::string_view key, std::string_view legal);
void report_choice(Reader& reader, const Node& node, std::string_view key,
                   const std::vector<std::string_view>& choices);
// The integer within the rules and [low, high], empty after a report.
std::optional<std::int64_t> read_integer(Reader& reader, const Node& node, std::string_view key,
                                         const Rules& rules, std::int64_t low, std::int64_t high);
// The string, empty after a report.
std::optional<std::string> read_string(Reader& reader, const Node& node, std::string_view key,
                                       const Rules& rules);
// "a whole number from 1 to 10"
std::string range_text(std::string_view noun, const Rules& rules, double low, double high);
bool expect_array(Reader& reader, const Node& node, std::string_view key, std::string_view legal);

template<class T>
struct Codec {  // a table
  static Type type(const Rules&) {
    Type type;
    type.kind = Type::Kind::Table;
    type.name = "table";
    type.table = &schema_of<T>;
    return type;
  }
  static bool read(Reader& reader, const Node& node, std::string_view, const Rules&, T& out) {
    read_table(schema_of<T>(), reader, node, &out);
    return true;
  }
  static Node write(const T& value) { return write_table(schema_of<T>(), &value); }
};

template<HasTextForm T>
struct Codec<T> {
  static Type type(const Rules&) {
    Type type;
    type.kind = Type::Kind::String;
    type.name = TextForm<T>::name;
    type.legal = TextForm<T>::legal;
    type.pattern = TextForm<T>::pattern;
    return type;
  }
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules& rules,
                   T& out) {
    if (node.is_bad) return false;
    if (node.kind != Node::Kind::String) {
      report_kind(reader, node, key, TextForm<T>::legal);
      return false;
    }
    const auto parsed = TextForm<T>::parse(node.text);
    if (!parsed) {
      report_text(reader, node, key, TextForm<T>::legal);
      return false;
    }
    if (!TextForm<T>::is_allowed(*parsed, rules)) {
      report_text(reader, node, key, TextForm<T>::range(rules));
      return false;
    }
    out = *parsed;
    return true;
  }
  static Node write(const T& value) { return Node::string(TextForm<T>::write(value)); }
};

template<HasNames T>
struct Codec<T> {
  static std::vector<std::string_view> choices() {
    std::vector<std::string_view> names;
    for (const auto& entry : names_of<T>()) names.push_back(entry.name);
    return names;
  }
  static Type type(const Rules&) {
    Type type;
    type.kind = Type::Kind::String;
    type.name = "choice";
    type.choices = choices();
    type.legal = "one of " + list_names(type.choices, "and");
    return type;
  }
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules&, T& out) {
    if (node.is_bad) return false;
    for (const auto& entry : names_of<T>()) {
      if (node.kind == Node::Kind::String && node.text == entry.name) {
        out = entry.value;
        return true;
      }
    }
    report_choice(reader, node, key, choices());
    return false;
  }
  static Node write(T value) { return Node::string(std::string(name_of(value))); }
};

template<>
struct Codec<std::string> {
  static Type type(const Rules& rules);
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules& rules,
                   std::string& out);
  static Node write(const std::string& value) { return Node::string(value); }
};

template<>
struct Codec<bool> {
  static Type type(const Rules&);
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules&, bool& out);
  static Node write(bool value) { return Node::of(value); }
};

template<>
struct Codec<double> {
  static Type type(const Rules& rules);
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules& rules,
                   double& out);
  static Node write(double value) { return Node::of(value); }
};

// Counts (unsigned, up to 2³¹−1), signed numbers (int) and ports (uint16_t, from 1).
template<class T>
requires std::is_same_v<T, unsigned> || std::is_same_v<T, int> || std::is_same_v<T, Port>
struct Codec<T> {
  static constexpr std::int64_t low = std::is_same_v<T, Port>  ? 1
                                      : std::is_same_v<T, int> ? std::numeric_limits<int>::min()
                                                               : 0;
  static constexpr std::int64_t high =
      std::is_same_v<T, Port> ? 65535 : std::numeric_limits<int>::max();
  static Rules effective(Rules rules) {
    rules.max = std::min(rules.max, static_cast<double>(high));
    if constexpr (std::is_same_v<T, Port>) rules.min = 1;
    return rules;
  }
  static Type type(const Rules& rules) {
    Type type;
    type.kind = Type::Kind::Integer;
    type.name = std::is_same_v<T, Port> ? "port" : "integer";
    type.min = std::is_same_v<T, Port> ? 1 : rules.min;
    type.max = std::is_same_v<T, Port> ? 65535 : rules.max;
    type.legal = std::is_same_v<T, Port>
                     ? "a port from 1 to 65535"
                     : range_text("a whole number", rules, static_cast<double>(low),
                                  static_cast<double>(high));
    return type;
  }
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules& rules,
                   T& out) {
    const auto value = read_integer(reader, node, key, effective(rules), low, high);
    if (value) out = static_cast<T>(*value);
    return value.has_value();
  }
  static Node write(T value) { return Node::of(static_cast<std::int64_t>(value)); }
};

template<>
struct Codec<PortRef> {
  static Type type(const Rules&);
  static bool read(Reader&, const Node&, std::string_view key, const Rules&, PortRef& out);
  static Node write(const PortRef& value) { return Node::of(std::int64_t{value.number}); }
};

template<>
struct Codec<PortRange> {
  static Type type(const Rules&);
  static bool read(Reader&, const Node&, std::string_view key, const Rules&, PortRange& out);
  static Node write(const PortRange& value);
};

template<>
struct Codec<UserRef> {
  static Type type(const Rules&);
  // Looks the name up; an unknown user is an error.
  static bool read(Reader&, const Node&, std::string_view key, const Rules&, UserRef& out);
  static Node write(const UserRef& value) { return Node::string(value.to_string()); }
};

template<>
struct Codec<GroupRef> {
  static Type type(const Rules&);
  static bool read(Reader&, const Node&, std::string_view key, const Rules&, GroupRef& out);
  static Node write(const GroupRef& value) { return Node::string(value.to_string()); }
};

template<class T>
struct Codec<std::optional<T>> {
  static Type type(const Rules& rules) { return Codec<T>::type(rules); }
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules& rules,
                   std::optional<T>& out) {
    T value{};
    if (!Codec<T>::read(reader, node, key, rules, value)) return false;
    out = std::move(value);
    return true;
  }
};

template<class T>
struct Codec<std::vector<T>> {
  static Rules element_rules(Rules rules) {
    if (rules.form == Form::Command) rules.form = Form::Any;
    rules.non_empty = false;
    return rules;
  }
  static Type type(const Rules& rules) {
    Type type;
    type.kind = Type::Kind::List;
    type.element.push_back(Codec<T>::type(element_rules(rules)));
    type.name = "list";
    type.legal = type.element.front().kind == Type::Kind::Table ? "a list of tables" : "a list";
    if (rules.form == Form::Command) type.legal = legal_form(rules.form);
    return type;
  }
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules& rules,
                   std::vector<T>& out) {
    if (!expect_array(reader, node, key, type(rules).legal)) return false;
    out.clear();
    for (const Node& item : node.items) {
      T value{};
      if (!item.is_bad && Codec<T>::read(reader, item, key, element_rules(rules), value)) {
        out.push_back(std::move(value));
      }
    }
    if (node.items.empty() && (rules.non_empty || rules.form == Form::Command)) {
      reader.error(node.position, "`" + std::string(key) + "` is empty",
                   {"it must be " + (rules.form == Form::Command
                                         ? std::string(legal_form(rules.form))
                                         : std::string("a list with at least one element"))});
    }
    if constexpr (std::is_same_v<T, std::string>) {
      if (rules.form == Form::Command && !node.items.empty() && !node.items.front().is_bad &&
          node.items.front().kind == Node::Kind::String) {
        check_form(Form::Command, reader, node.items.front().position, key,
                   node.items.front().text);
      }
    }
    return true;
  }
  static Node write(const std::vector<T>& values) {
    Node array = Node::array();
    for (const T& value : values) array.items.push_back(Codec<T>::write(value));
    return array;
  }
};

// Keys of a map: names of any kind, or numbers.
bool read_map_key(Reader& reader, const Entry& entry, std::string_view key, std::string& out);
bool read_map_key(Reader& reader, const Entry& entry, std::string_view key, unsigned& out);
inline std::string map_key_text(const std::string& key) { return key; }
inline std::string map_key_text(unsigned key) { return std::to_string(key); }

template<class K, class V>
struct Codec<std::map<K, V>> {
  static Type type(const Rules& rules) {
    Type type;
    type.kind = Type::Kind::Map;
    type.name = "table";
    type.element.push_back(Codec<V>::type(rules));
    type.legal = "a table of " + type.element.front().name + "s by name";
    return type;
  }
  static bool read(Reader& reader, const Node& node, std::string_view key, const Rules& rules,
                   std::map<K, V>& out) {
    if (node.kind != Node::Kind::Table) {
      report_kind(reader, node, key, type(rules).legal);
      return false;
    }
    for (const Entry& entry : node.entries) {
      K name{};
      V value{};
      if (read_map_key(reader, entry, key, name) && !entry.value.is_bad &&
          Codec<V>::read(reader, entry.value, entry.key, rules, value)) {
        out.insert_or_assign(std::move(name), std::move(value));
      }
    }
    return true;
  }
  static Node write(const std::map<K, V>& values) {
    Node table = Node::table();
    for (const auto& [key, value] : values) table.add(map_key_text(key), Codec<V>::write(value));
    return table;
  }
};

}  // namespace pillion::config
