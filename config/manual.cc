// The reference as a manual page, pillion.toml(5).
#include "config/reference.h"
#include "config/schema_walk.h"

namespace pillion::config {
namespace {

constexpr std::string_view kHead =
    R"(.\" Made from the schema in config/ by config-docs. A test compares; do not edit by hand.
.TH PILLION.TOML 5 "" "Pillion" "File formats"
.SH NAME
pillion.toml \- one service: the app and its helpers
.SH SYNOPSIS
.I /etc/pillion/NAME.toml
.SH DESCRIPTION
A TOML file with exactly one
.B [app]
and its helpers, each under its role and named by its key:
.BR [init.NAME] ", " [adapter.NAME] ", " [ambassador.NAME] ", " [sidecar.NAME] .
Below, CHILD stands for any of them. A child is a component of Pillion's own
.RB ( use )
or any program
.RB ( command ).
Unknown keys are errors.
.PP
Durations ("500ms", "10s", "1h30m"), sizes ("64MiB", "1GB") and CPU quantities ("0.5", "250m") are
strings with their units. ${VAR} in a string takes the value of the environment variable,
${VAR:\-default} has a default for when it is unset or empty, and $${ is a literal ${.
.PP
.B pillion check
.I FILE
reports every problem with its place;
.B pillion config
.I FILE
shows what is in effect, every default included.
)";

constexpr std::string_view kTail = R"(.SH EXAMPLES
.EX
[network]
publish = ["8080"]

[app]
command = ["/opt/orders/orders"]
user = "orders"
ports = [{ name = "http", port = 8080, protocol = "http" }]

[sidecar.proxy]
use = "proxy"
.EE
.SH SEE ALSO
.BR pillion (8)
)";

std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '`') {
      continue;  // marks code in Markdown
    } else {
      out.push_back(c);
    }
  }
  const bool is_request = out.starts_with('.') || out.starts_with('\'');
  return is_request ? "\\&" + out : out;
}

std::string places(const TablePlace& place) {
  std::string text;
  for (const std::string& path : place.paths) {
    const bool is_list = path.ends_with("[]");
    text += (text.empty() ? "" : ", ");
    text += is_list ? "[[" + path.substr(0, path.size() - 2) + "]]" : "[" + path + "]";
  }
  return place.use.empty() ? text : text + " with use = \"" + std::string(place.use) + "\"";
}

std::string type_name(const Type& type) {
  if (type.kind == Type::Kind::List) return "list of " + type_name(type.element.front());
  if (type.kind == Type::Kind::Map) return "table, name to " + type_name(type.element.front());
  return type.name;
}

void write_field(const TableSchema& schema, const Field& field, std::string& out) {
  const std::string type = field.type.choices.empty() ? " (" + type_name(field.type) + ")" : "";
  out += ".TP\n.BR " + roff(field.key) + " \"" + roff(type) + "\"\n" + roff(field.doc) + "\n";
  if (!field.type.choices.empty()) out += roff("It is " + field.type.legal + ".") + "\n";
  const std::string text = default_text(schema, field);
  if (field.rules.required) out += "Required.\n";
  if (!field.rules.required && !text.empty()) out += roff("Default: " + text + ".") + "\n";
  if (field.rules.planned) out += "Checked, but not in effect yet.\n";
}

}  // namespace

std::string reference_manual() {
  std::string out(kHead);
  for (const TablePlace& place : all_tables()) {
    if (place.paths.front().empty()) continue;
    out += ".SH " + roff(place.schema->title) + "\n" + roff(places(place)) + "\n";
    if (!place.schema->doc.empty()) out += ".PP\n" + roff(place.schema->doc) + "\n";
    for (const Choice& choice : place.schema->choices) {
      out += ".PP\n" +
             roff((choice.is_required ? "Exactly one of " : "At most one of ") +
                  list_names(choice.keys, "and") + ".") +
             "\n";
    }
    for (const Field& field : place.schema->fields) write_field(*place.schema, field, out);
  }
  out += kTail;
  return out;
}

}  // namespace pillion::config
