#include "config/differences.h"

#include <algorithm>

#include "config/document.h"
#include "config/file_layout.h"
#include "config/schema.h"

namespace pillion::config {
namespace {

constexpr std::size_t kValueLengthMax = 100;
constexpr std::string_view kHidden = "…";

bool is_table_array(const Node& node) {
  return node.kind == Node::Kind::Array && !node.items.empty() &&
         node.items.front().kind == Node::Kind::Table;
}

class Comparison {
 public:
  Comparison(std::string child, std::vector<Difference>& found)
      : child_(std::move(child)), found_(found) {}

  void compare_tables(const Node& before, const Node& after, const std::string& path) {
    for (const Entry& entry : before.entries) {
      compare(&entry.value, after.find(entry.key), join(path, entry.key));
    }
    for (const Entry& entry : after.entries) {
      if (!before.find(entry.key)) compare(nullptr, &entry.value, join(path, entry.key));
    }
  }

 private:
  static std::string join(const std::string& path, const std::string& key) {
    return path.empty() ? key : path + "." + key;
  }

  void compare(const Node* before, const Node* after, const std::string& path) {
    const Node* some = before ? before : after;
    static const Node nothing = Node::table();
    const bool both = before && after;
    if (some->kind == Node::Kind::Table && (!both || before->kind == after->kind)) {
      return compare_tables(before ? *before : nothing, after ? *after : nothing, path);
    }
    if (both && is_table_array(*before) && is_table_array(*after) &&
        before->items.size() == after->items.size()) {
      for (std::size_t i = 0; i < before->items.size(); ++i) {
        compare_tables(before->items[i], after->items[i], path + "[" + std::to_string(i) + "]");
      }
      return;
    }
    if (both && write_value(*before) == write_value(*after)) return;
    found_.push_back({child_, path, text_of(before, path), text_of(after, path)});
  }

  static std::string text_of(const Node* node, const std::string& path) {
    if (!node) return {};
    const bool may_be_secret =
        path.compare(0, 4, "env.") == 0 || path.find("headers.") != std::string::npos;
    if (may_be_secret) return std::string(kHidden);
    std::string text = write_value(*node);
    std::replace(text.begin(), text.end(), '\n', ' ');
    if (text.size() <= kValueLengthMax) return text;
    text.resize(kValueLengthMax);
    // Not within a character.
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xc0) == 0x80) {
      text.pop_back();
    }
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xc0) text.pop_back();
    return text + std::string(kHidden);
  }

  std::string child_;
  std::vector<Difference>& found_;
};

Node shared_tables(const Service& service) {
  FileLayout layout;
  layout.service = service.settings;
  layout.network = service.network;
  layout.volumes = service.volumes;
  Node tables = write_table(schema_of<FileLayout>(), &layout);
  std::erase_if(tables.entries, [](const Entry& entry) { return entry.key == "app"; });
  return tables;
}

}  // namespace

std::vector<Difference> find_differences(const Service& before, const Service& after) {
  std::vector<Difference> found;
  Comparison("", found).compare_tables(shared_tables(before), shared_tables(after), "");
  for (const Child& child : before.children) {
    const Child* other = after.find(child.name);
    if (!other || child == *other) continue;
    const Node tables[] = {write_table(schema_of<Child>(), &child),
                           write_table(schema_of<Child>(), other)};
    Comparison(child.name, found).compare_tables(tables[0], tables[1], "");
    if (child.role != other->role) {
      found.push_back({child.name, "role", std::string(role_key(child.role)),
                       std::string(role_key(other->role))});
    }
  }
  return found;
}

}  // namespace pillion::config
