#include "config/render.h"

#include "config/document.h"
#include "config/file_layout.h"
#include "config/schema.h"

namespace pillion::config {
namespace {

struct ComponentRenderer {
  std::string operator()(const std::monostate&) const { return ""; }
  template<class T>
  std::string operator()(const T& config) const {
    return write_document(write_table(schema_of<T>(), &config));
  }
};

}  // namespace

std::string render_service(const Service& service) {
  FileLayout layout;
  layout.service = service.settings;
  layout.network = service.network;
  layout.volumes = service.volumes;
  Node shared = write_table(schema_of<FileLayout>(), &layout);
  std::erase_if(shared.entries, [](const Entry& entry) { return entry.key == "app"; });
  std::string text = write_document(shared);
  // Children in their own order, which one table per role could not keep.
  for (const Child& child : service.children) {
    std::string path(role_key(child.role));
    if (child.role != Role::App) path += "." + child.name;
    text += write_section(write_table(schema_of<Child>(), &child), path);
  }
  return text;
}

std::string render_component(const Child& child) {
  return std::visit(ComponentRenderer{}, child.config);
}

}  // namespace pillion::config
