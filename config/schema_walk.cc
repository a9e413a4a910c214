#include "config/schema_walk.h"

#include "config/file_layout.h"

namespace pillion::config {
namespace {

class Walk {
 public:
  std::vector<TablePlace> run() {
    enter(schema_of<FileLayout>(), "", "");
    return std::move(places_);
  }

 private:
  void enter(const TableSchema& schema, const std::string& path, std::string_view use) {
    for (TablePlace& place : places_) {
      if (place.schema != &schema) continue;
      if (place.paths.empty() || place.paths.back() != path) place.paths.push_back(path);
      return;
    }
    places_.push_back({&schema, {path}, use});
    for (const Field& field : schema.fields) visit(field, path);
  }

  void visit(const Field& field, const std::string& path) {
    const std::string below =
        path.empty() ? std::string(field.key) : path + "." + std::string(field.key);
    const bool is_child = field.type.table == &schema_of<Child>;
    if (is_child) return enter(schema_of<Child>(), "CHILD", "");
    if (field.type.kind == Type::Kind::Table && field.type.table != nullptr) {
      enter(field.type.table(), below, "");
    } else if (field.type.kind == Type::Kind::NamedTables) {
      enter(field.type.table(), below + ".NAME", "");
    } else if (field.type.kind == Type::Kind::List && field.type.element.front().table != nullptr) {
      enter(field.type.element.front().table(), below + "[]", "");
    }
    for (const auto& [use, table] : field.type.alternatives) enter(table(), below, use);
  }

  std::vector<TablePlace> places_;
};

}  // namespace

std::vector<TablePlace> all_tables() { return Walk().run(); }

std::string anchor_of(std::string_view title) {
  std::string anchor;
  for (const char c : title) {
    if (c >= 'A' && c <= 'Z') anchor.push_back(static_cast<char>(c - 'A' + 'a'));
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-') anchor.push_back(c);
    if (c == ' ') anchor.push_back('-');
  }
  return anchor;
}

std::string default_text(const TableSchema& schema, const Field& field) {
  if (!field.rules.computed_default.empty()) return std::string(field.rules.computed_default);
  const bool has_none = field.rules.required || field.rules.hide_default;
  if (has_none || field.type.table != nullptr || !field.write) return "";
  const auto object = schema.make_default();
  const auto value = field.write(object.get());
  return value ? write_value(*value) : "";
}

}  // namespace pillion::config
