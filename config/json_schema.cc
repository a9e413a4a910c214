// JSON Schema, draft-07. Looser than the loader where JSON Schema cannot say it: the loader
// decides.
#include <charconv>
#include <cmath>

#include "config/reference.h"
#include "config/schema_walk.h"
#include "runtime/json_text.h"

namespace pillion::config {
namespace {

// A string that holds a variable may stand for any scalar.
constexpr std::string_view kVariable = R"({"type": "string", "pattern": "\\$\\{"})";

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string reference_to(const TableSchema& schema) {
  return "{\"$ref\": " + quoted("#/definitions/" + anchor_of(schema.title)) + "}";
}

std::string number_text(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string number_schema(const Type& type) {
  std::string text =
      type.kind == Type::Kind::Integer ? R"({"type": "integer")" : R"({"type": "number")";
  text += ", \"minimum\": " + number_text(type.min);
  if (std::isfinite(type.max)) text += ", \"maximum\": " + number_text(type.max);
  return R"({"anyOf": [)" + text + "}, " + std::string(kVariable) + "]}";
}

std::string string_schema(const Type& type) {
  if (!type.choices.empty()) {
    std::string names;
    for (const std::string_view choice : type.choices) {
      names += (names.empty() ? "" : ", ") + quoted(choice);
    }
    return R"({"anyOf": [{"enum": [)" + names + "]}, " + std::string(kVariable) + "]}";
  }
  if (type.pattern.empty()) return R"({"type": "string"})";
  return R"({"type": "string", "pattern": )" + quoted("(" + type.pattern + ")|\\$\\{") + "}";
}

std::string value_schema(const Type& type) {
  switch (type.kind) {
    case Type::Kind::String: return string_schema(type);
    case Type::Kind::Integer:
    case Type::Kind::Number: return number_schema(type);
    case Type::Kind::Boolean:
      return R"({"anyOf": [{"type": "boolean"}, )" + std::string(kVariable) + "]}";
    case Type::Kind::IntegerOrString: return R"({"type": ["integer", "string"]})";
    case Type::Kind::List:
      return R"({"type": "array", "items": )" + value_schema(type.element.front()) + "}";
    case Type::Kind::Map:
      return R"({"type": "object", "additionalProperties": )" + value_schema(type.element.front()) +
             "}";
    case Type::Kind::NamedTables:
      return R"({"type": "object", "propertyNames": {"pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}, )"
             R"("additionalProperties": )" +
             reference_to(type.table()) + "}";
    case Type::Kind::Table: break;
  }
  return type.table != nullptr ? reference_to(type.table()) : R"({"type": "object"})";
}

std::string description(const TableSchema& schema, const Field& field) {
  std::string text(field.doc);
  if (!field.type.legal.empty() && field.type.table == nullptr)
    text += " It is " + field.type.legal + ".";
  const std::string value = default_text(schema, field);
  if (!value.empty()) text += " Default: " + value + ".";
  if (field.rules.planned) text += " Checked, but not in effect yet.";
  return text;
}

std::string property(const TableSchema& schema, const Field& field) {
  return "        " + quoted(field.key) +
         ": {\"description\": " + quoted(description(schema, field)) + ", \"allOf\": [" +
         value_schema(field.type) + "]}";
}

std::string choice_schema(const Choice& choice) {
  std::string text;
  for (const std::string_view key : choice.keys) {
    text += (text.empty() ? "" : ", ") + ("{\"required\": [" + quoted(key) + "]}");
  }
  if (choice.is_required) return "{\"oneOf\": [" + text + "]}";
  return "{\"oneOf\": [" + text + ", {\"not\": {\"anyOf\": [" + text + "]}}]}";
}

// `config` depends on `use`.
std::string alternative_schema(const Field& field, const Type::Alternative& alternative) {
  return "{\"if\": {\"properties\": {\"use\": {\"const\": " + quoted(alternative.use) +
         "}}, \"required\": [\"use\"]}, \"then\": {\"properties\": {" + quoted(field.key) + ": " +
         reference_to(alternative.table()) + "}}}";
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : std::string(separator)) + part;
  return text;
}

std::string table_schema(const TableSchema& schema) {
  std::vector<std::string> properties, required, conditions;
  for (const Field& field : schema.fields) {
    properties.push_back(property(schema, field));
    if (field.rules.required) required.push_back(quoted(field.key));
    for (const auto& alternative : field.type.alternatives) {
      conditions.push_back("        " + alternative_schema(field, alternative));
    }
  }
  for (const Choice& choice : schema.choices)
    conditions.push_back("        " + choice_schema(choice));
  std::string text = "{\n      \"type\": \"object\",\n      \"additionalProperties\": false,\n";
  if (!schema.doc.empty()) text += "      \"description\": " + quoted(schema.doc) + ",\n";
  if (!required.empty()) text += "      \"required\": [" + joined(required, ", ") + "],\n";
  if (!conditions.empty())
    text += "      \"allOf\": [\n" + joined(conditions, ",\n") + "\n      ],\n";
  return text + "      \"properties\": {\n" + joined(properties, ",\n") + "\n      }\n    }";
}

}  // namespace

std::string json_schema() {
  std::vector<std::string> definitions;
  const auto tables = all_tables();
  for (const TablePlace& place : tables) {
    definitions.push_back("    " + quoted(anchor_of(place.schema->title)) + ": " +
                          table_schema(*place.schema));
  }
  return "{\n  \"$schema\": \"http://json-schema.org/draft-07/schema#\",\n"
         "  \"title\": \"Pillion service file\",\n  \"allOf\": [" +
         reference_to(*tables.front().schema) + "],\n  \"definitions\": {\n" +
         joined(definitions, ",\n") + "\n  }\n}\n";
}

}  // namespace pillion::config
