#include "config/load.h"

#include <algorithm>

#include "config/file_layout.h"
#include "config/parse_units.h"
#include "config/reader.h"
#include "config/render.h"
#include "config/schema.h"
#include "config/validate.h"
#include "runtime/fd.h"

namespace pillion::config {
namespace {

constexpr std::size_t kFileBytesMax = 4u << 20;
constexpr std::string_view kSystemDirectory = "/etc/pillion/";

void sort_by_position(std::vector<Diagnostic>& diagnostics) {
  std::stable_sort(diagnostics.begin(), diagnostics.end(),
                   [](const Diagnostic& a, const Diagnostic& b) {
                     return std::pair(a.position.line, a.position.column) <
                            std::pair(b.position.line, b.position.column);
                   });
}

Diagnostic cannot_read(const std::string& path, const std::string& reason) {
  return {Severity::Error, path, {0, 0, 1}, reason, "", {}};
}

// "orders" of "/etc/pillion/orders.toml"
std::string_view stem_of(std::string_view path) {
  path = path.substr(path.rfind('/') + 1);
  if (path.ends_with(".toml")) path.remove_suffix(5);
  return path;
}

void check_name(Reader& reader, const Node& root, const std::string& filename,
                ServiceSettings& settings) {
  const std::string stem(stem_of(filename));
  const Position at = position_of(root, "service.name");
  const Node* section = root.find("service");
  if (section == nullptr || section->find("name") == nullptr) {
    settings.name = stem;
    if (is_child_name(stem)) return;
    reader.error({}, "the file's name \"" + stem + "\" cannot be the service's name",
                 {"set `name` in [service]: " + std::string(legal_form(Form::Name))});
    return;
  }
  if (filename.starts_with(kSystemDirectory) && settings.name != stem && !settings.name.empty()) {
    reader.error(at, "the service's name is not the file's",
                 {"in /etc/pillion, `" + stem + ".toml` must hold the service `" + stem + "`"});
  }
}

void move_children(std::vector<Child>& from, Role role, std::vector<Child>& to) {
  for (Child& child : from) {
    child.role = role;
    to.push_back(std::move(child));
  }
}

Service assemble(FileLayout&& layout, const Node& root) {
  Service service;
  service.settings = std::move(layout.service);
  service.network = std::move(layout.network);
  service.volumes = std::move(layout.volumes);
  move_children(layout.init, Role::Init, service.children);
  move_children(layout.adapters, Role::Adapter, service.children);
  move_children(layout.ambassadors, Role::Ambassador, service.children);
  move_children(layout.sidecars, Role::Sidecar, service.children);
  layout.app.name = "app";
  service.children.push_back(std::move(layout.app));
  const auto place = [&](const Child& child) {
    const std::string path =
        std::string(role_key(child.role)) + (child.role == Role::App ? "" : "." + child.name);
    const Position position = position_of(root, path);
    return std::pair(position.line, position.column);
  };
  std::stable_sort(service.children.begin(), service.children.end(),
                   [&](const Child& a, const Child& b) { return place(a) < place(b); });
  return service;
}

template<class T>
LoadResult<T> finish(std::vector<Diagnostic> diagnostics, T&& value) {
  LoadResult<T> result;
  sort_by_position(diagnostics);
  if (!has_errors(diagnostics)) result.value = std::move(value);
  result.diagnostics = std::move(diagnostics);
  return result;
}

template<class T>
LoadResult<T> with_file(const std::string& path,
                        const std::function<LoadResult<T>(std::string_view text)>& parse) {
  const auto text = read_file(path, kFileBytesMax);
  if (!text) return {std::nullopt, {cannot_read(path, text.error().message())}};
  return parse(*text);
}

}  // namespace

LoadResult<Service> parse_service(std::string_view text, const std::string& filename,
                                  const LoadOptions& options) {
  std::vector<Diagnostic> diagnostics;
  Document document = parse_document(text, filename, diagnostics);
  Reader reader(options, filename, split_lines(text), diagnostics);
  reader.set_partial(document.is_partial);
  reader.expand_variables(document.root);
  FileLayout layout;
  read_table(schema_of<FileLayout>(), reader, document.root, &layout);
  check_name(reader, document.root, filename, layout.service);
  Service service = assemble(std::move(layout), document.root);
  complete_service(reader, document.root, service);
  check_service(reader, document.root, service);
  return finish(std::move(diagnostics), std::move(service));
}

LoadResult<Service> load_service(const std::string& path, const LoadOptions& options) {
  return with_file<Service>(
      path, [&](std::string_view text) { return parse_service(text, path, options); });
}

template<class T>
LoadResult<T> parse_component(std::string_view text, const std::string& filename,
                              const LoadOptions& options) {
  std::vector<Diagnostic> diagnostics;
  Document document = parse_document(text, filename, diagnostics);
  Reader reader(options, filename, split_lines(text), diagnostics);
  reader.set_partial(document.is_partial);
  reader.expand_variables(document.root);
  T config{};
  read_table(schema_of<T>(), reader, document.root, &config);
  return finish(std::move(diagnostics), std::move(config));
}

template<class T>
LoadResult<T> load_component(const std::string& path, const LoadOptions& options) {
  return with_file<T>(
      path, [&](std::string_view text) { return parse_component<T>(text, path, options); });
}

template<class T>
LoadResult<T> load_child_component(const std::string& path, std::string_view child,
                                   const LoadOptions& options) {
  LoadResult<Service> service = load_service(path, options);
  LoadResult<T> result{std::nullopt, std::move(service.diagnostics)};
  if (!service.value) return result;
  complete_components(*service.value);
  const Child* found = service.value->find(child);
  if (found != nullptr && std::holds_alternative<T>(found->config)) {
    result.value = std::get<T>(found->config);
    return result;
  }
  result.diagnostics.push_back(cannot_read(
      path, found == nullptr ? "there is no child `" + std::string(child) + "`"
                             : "the child `" + std::string(child) + "` is another component"));
  return result;
}

#define PILLION_INSTANTIATE(T)                                                         \
  template LoadResult<T> parse_component<T>(std::string_view, const std::string&,      \
                                            const LoadOptions&);                       \
  template LoadResult<T> load_component<T>(const std::string&, const LoadOptions&);    \
  template LoadResult<T> load_child_component<T>(const std::string&, std::string_view, \
                                                 const LoadOptions&)
PILLION_INSTANTIATE(ProxyConfig);
PILLION_INSTANTIATE(LogsConfig);
PILLION_INSTANTIATE(SecretsConfig);
PILLION_INSTANTIATE(EgressConfig);
PILLION_INSTANTIATE(MetricsConfig);
#undef PILLION_INSTANTIATE

}  // namespace pillion::config
