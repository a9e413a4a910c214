// The schema: per struct one table of fields that says key, type, rules and meaning. Parsing,
// checks, rendering, docs/configuration.md and the JSON Schema all walk it, so they cannot drift
// apart.
//
// A struct takes part by a specialisation of `schema_of<T>()` (schema_*.cc) made with TableBuilder
// (table_builder.h); how single values are read is in codec.h. Defaults are the struct's own member
// initialisers.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.h"
#include "config/reader.h"

namespace pillion::config {

struct TableSchema;

// What strings (and lists of strings) must look like beyond being strings.
enum class Form {
  Any,
  AbsolutePath,
  Glob,
  Command,
  HostName,
  HostPattern,  // or "*." and a name, or "*"
  HttpUrl,
  Name,
  VariableName,
  Capability,
  SystemCall,
  Regex,
  SpiffeId,
  LogTarget,
  NumberList
};

// Rules of one field. Rules of a list or map hold for each of its elements, except `required`,
// `non_empty` and Form::Command.
struct Rules {
  bool required = false;
  bool non_empty = false;
  Form form = Form::Any;
  double min = 0;
  double max = std::numeric_limits<double>::infinity();
  // What the default is when it depends on other keys, in words.
  std::string_view computed_default = {};
  // Part of the contract, accepted and checked, but not in effect yet: a warning says so.
  bool planned = false;
  // Not rendered while it has its default value: a choice that was not taken.
  bool hide_default = false;
};

struct Type {
  enum class Kind {
    String,
    Integer,
    Number,
    Boolean,
    IntegerOrString,
    List,
    Map,
    Table,
    NamedTables
  };
  Kind kind = Kind::String;
  std::string name;                         // "duration"
  std::string legal;                        // "a duration such as \"500ms\", \"10s\" or \"1h30m\""
  std::string pattern;                      // regular expression for editors, may be empty
  std::vector<std::string_view> choices;    // of an enumeration
  std::vector<Type> element;                // of List and Map: one
  const TableSchema& (*table)() = nullptr;  // of Table and NamedTables
  // Of a table whose schema depends on the sibling key `use`: by that key's value.
  struct Alternative {
    std::string_view use;
    const TableSchema& (*table)();
  };
  std::vector<Alternative> alternatives;
  // Of numbers; as in Rules.
  double min = 0;
  double max = std::numeric_limits<double>::infinity();
};

struct Field {
  std::string_view key;
  std::string_view doc;
  Rules rules;
  Type type;
  std::function<void(Reader&, const Node&, void* object)> read;
  // Empty when there is nothing to show (an option that is not set).
  std::function<std::optional<Node>(const void* object)> write;
};

struct Choice {
  std::vector<std::string_view> keys;
  bool is_required = false;  // exactly one; else at most one
};

struct TableSchema {
  std::string_view title;  // for the reference page: "HTTP action"
  std::string_view doc;
  std::vector<Field> fields;
  std::vector<Choice> choices;
  // Checks that need several fields, and defaults that depend on others. Runs after the fields.
  std::function<void(Reader&, const Node&, void* object)> finish;
  // A default-constructed object, for rendering defaults.
  std::function<std::shared_ptr<void>()> make_default;

  const Field* find(std::string_view key) const;
};

// Specialised in schema_*.cc.
template<class T>
const TableSchema& schema_of();

// Reads every known key of `node` into `object`, reports unknown keys, missing required keys and
// broken choices.
void read_table(const TableSchema& schema, Reader& reader, const Node& node, void* object);
Node write_table(const TableSchema& schema, const void* object);

// True when the field of `object` has the value that it has without being mentioned.
bool has_default(const TableSchema& schema, const Field& field, const void* object);

// Checks `text` against `form`; reports and returns false when it does not fit.
bool check_form(Form form, Reader& reader, const Position& at, std::string_view key,
                std::string_view text);

// Checks the NAME of a table [key.NAME].
void check_table_name(Reader& reader, const Entry& entry, std::string_view key);

// What a string of this form must be, for notes and the reference page.
std::string_view legal_form(Form form);

}  // namespace pillion::config
