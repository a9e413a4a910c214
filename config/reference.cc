#include "config/reference.h"

#include <algorithm>

#include "config/schema_walk.h"

namespace pillion::config {
namespace {

constexpr std::string_view kIntroduction = R"(# The service file

<!-- Made from the schema in config/ by `config-docs`. A test compares; do not edit by hand. -->

One TOML file describes one service: the app and its helpers. `pillion check FILE` validates it and
reports every problem with its place; `pillion config FILE` shows what is in effect, every default
included. Editors complete and check it with
[`pillion.schema.json`](../packaging/schema/pillion.schema.json).

- Exactly one `[app]`. Every other program is a *child* under its role, named by its key: `[init.NAME]`,
  `[adapter.NAME]`, `[ambassador.NAME]`, `[sidecar.NAME]`. Below, **CHILD** stands for any of them.
- Children start in the order init tasks (in file order), adapters, ambassadors, sidecars, app. Each waits
  until those before it have *started*. `after` refines the order.
- A child is a component of Pillion's own (`use`) or any program (`command`).
- Unknown keys are errors. So are relative paths: nothing depends on the directory that Pillion was
  started in.

## Values

| type | written as |
|---|---|
| duration | a string with units, largest first: `"500ms"`, `"10s"`, `"5m"`, `"1h30m"`, `"2d"` |
| size | a string with its unit: `"64KiB"`, `"256MiB"`, `"1.5GiB"` (powers of 1024), `"1GB"` (of 1000) |
| CPU quantity | a string: `"2"`, `"0.5"`, `"250m"` (thousandths) |
| port | a number from 1 to 65535 |
| listen address | a numeric address and port: `"127.0.0.1:7000"`, `"[::]:15021"` |
| host and port | `"users.internal:8443"`, `"[2001:db8::1]:443"` |
| network | `"10.0.0.0/8"`, `"fd00::/8"`, without bits beyond the prefix |
| published port | `[ADDRESS:]HOST[:APP][/udp]`: `"8080"`, `"127.0.0.1:8080:80"`, `"8000-8010:9000-9010"`, `"[::1]:8080:80"`, `"53:53/udp"` |
| user | a name, a uid or `"uid:gid"`; the user must exist |
| file mode | octal digits in a string: `"0400"` |
| signal | `"SIGTERM"`, `"TERM"`, `"SIGRTMIN+3"` |
| mount | the name of a volume: `"logs"`, `"logs:ro"`, `"logs:rw"` |
| path | absolute |

`${VAR}` in a string takes the value of the environment variable, `${VAR:-default}` has a default for
when it is unset or empty, and `$${` is a literal `${`. A variable that is unset or empty without a
default is an error. A string that holds only `"${VAR}"` may stand for a number or a boolean. Keys
are never expanded.
)";

std::string link_to(const TableSchema& schema) {
  return "[" + std::string(schema.title) + "](#" + anchor_of(schema.title) + ")";
}

std::string choices_text(const std::vector<std::string_view>& choices) {
  std::string text;
  for (const std::string_view choice : choices) {
    text += (text.empty() ? "" : ", ") + ("`\"" + std::string(choice) + "\"`");
  }
  return text;
}

std::string type_text(const Type& type) {
  if (!type.choices.empty()) return choices_text(type.choices);
  if (!type.alternatives.empty()) {
    std::string text;
    for (const auto& [use, table] : type.alternatives) {
      text += (text.empty() ? "" : ", ") + link_to(table());
    }
    return text;
  }
  switch (type.kind) {
    case Type::Kind::Table: return link_to(type.table());
    case Type::Kind::NamedTables: return "tables by name: " + link_to(type.table());
    case Type::Kind::List: return "list of " + type_text(type.element.front());
    case Type::Kind::Map: return "table, name to " + type_text(type.element.front());
    default: return type.name;
  }
}

// "from 1 to 10", "at least 1"; empty for what the type's name says already.
std::string range_note(const Type& type) {
  const bool is_number = type.kind == Type::Kind::Integer || type.kind == Type::Kind::Number;
  if (!is_number || type.name == "port") return "";
  const std::size_t from = type.legal.find(" from ");
  const std::size_t least = type.legal.find("at least ");
  if (from != std::string::npos) return type.legal.substr(from + 1);
  if (least != std::string::npos && type.legal.substr(least) != "at least 0") {
    return type.legal.substr(least);
  }
  return "";
}

std::string escaped_cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2)) {
    text.replace(at, 1, "\\|");
  }
  return text;
}

std::string default_cell(const TableSchema& schema, const Field& field) {
  if (field.rules.required) return "**required**";
  const std::string text = default_text(schema, field);
  if (text.empty()) return "";
  return field.rules.computed_default.empty() ? "`" + text + "`" : text;
}

std::string meaning(const Field& field) {
  std::string text(field.doc);
  const std::string range = range_note(field.type);
  if (!range.empty()) text += " A number " + range + ".";
  if (field.rules.planned) text += " *Checked, but not in effect yet.*";
  return text;
}

std::string heading(const TablePlace& place) {
  std::string text;
  for (const std::string& path : place.paths) {
    const bool is_list = path.ends_with("[]");
    const std::string shown =
        is_list ? "[[" + path.substr(0, path.size() - 2) + "]]" : "[" + path + "]";
    text += (text.empty() ? "" : ", ") + ("`" + shown + "`");
  }
  if (!place.use.empty()) text += " with `use = \"" + std::string(place.use) + "\"`";
  return text;
}

std::string choice_note(const Choice& choice) {
  return std::string(choice.is_required ? "Exactly one of " : "At most one of ") +
         list_names(choice.keys, "and") + ".";
}

void write_table_section(const TablePlace& place, std::string& out) {
  const TableSchema& schema = *place.schema;
  out += "\n## " + std::string(schema.title) + "\n\n" + heading(place) + "\n\n";
  if (!schema.doc.empty()) out += std::string(schema.doc) + "\n\n";
  for (const Choice& choice : schema.choices) out += choice_note(choice) + "\n\n";
  out += "| key | type | default | meaning |\n|---|---|---|---|\n";
  for (const Field& field : schema.fields) {
    out += "| `" + std::string(field.key) + "` | " + escaped_cell(type_text(field.type)) + " | " +
           escaped_cell(default_cell(schema, field)) + " | " + escaped_cell(meaning(field)) +
           " |\n";
  }
}

}  // namespace

std::string reference_markdown() {
  std::string out(kIntroduction);
  for (const TablePlace& place : all_tables()) {
    if (place.paths.front().empty()) continue;  // the file as a whole: the introduction
    write_table_section(place, out);
  }
  return out;
}

}  // namespace pillion::config
