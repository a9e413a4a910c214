// Schema of the file as a whole: [service], [network], [volume.NAME] and the roles.
#include "config/file_layout.h"
#include "config/table_builder.h"
#include "config/validate.h"

namespace pillion::config {

template<>
const TableSchema& schema_of<ServiceSettings>() {
  static const TableSchema schema =
      TableBuilder<ServiceSettings>("Service", "What holds for all children together.")
          .field("name", &ServiceSettings::name,
                 "Name of the service; below /etc/pillion it must be the file's.",
                 {.form = Form::Name, .computed_default = "the file's name without .toml"})
          .field("stop_grace", &ServiceSettings::stop_grace,
                 "One budget for the whole stop, hooks and helpers included.")
          .field("drain_delay", &ServiceSettings::drain_delay,
                 "Not ready, yet serving: the load balancer's time to notice.")
          .field("sidecar_reserve", &ServiceSettings::sidecar_reserve,
                 "The end of the grace, which the app cannot use up.",
                 {.computed_default = "5s, or a fifth of stop_grace if that is less"})
          .field("metrics", &ServiceSettings::metrics,
                 "Address for the merged metrics and health of all children.")
          .field("usage_period", &ServiceSettings::usage_period,
                 "How often CPU, memory and processes of the children are sampled.", {.min = 100})
          .field("signal_map", &ServiceSettings::signal_map,
                 "As a container's entrypoint: signal to the signal that the app gets, or "
                 "\"ignore\".")
          .finish(check_settings)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Volume>() {
  static const TableSchema schema =
      TableBuilder<Volume>("Volume",
                           "A directory that children share: below /var/lib/pillion, or in memory.")
          .field("path", &Volume::path, "Where children see it.",
                 {.required = true, .form = Form::AbsolutePath})
          .field("tmpfs", &Volume::tmpfs, "In memory, of this size; gone with the service.",
                 {.min = 4096, .computed_default = "a directory on disk"})
          .field("owner", &Volume::owner, "Owner of the directory.", {.computed_default = "root"})
          .field("mode", &Volume::mode, "Permissions of the directory.",
                 {.computed_default = "\"0711\" in memory, \"2770\" on disk"})
          .finish([](Reader&, const Node& node, Volume& volume) {
            if (node.find("mode") == nullptr) volume.mode = FileMode{volume.tmpfs ? 0711u : 02770u};
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<FileLayout>() {
  Field app{"app", "The app. Exactly one.", {}, {}, {}, {}};
  app.rules.required = true;
  app.type.kind = Type::Kind::Table;
  app.type.name = "table";
  app.type.table = &schema_of<Child>;
  app.read = [](Reader& reader, const Node& node, void* object) {
    Child& child = static_cast<FileLayout*>(object)->app;
    child.name = "app";
    child.role = Role::App;
    read_table(schema_of<Child>(), reader, node, &child);
  };
  app.write = [](const void* object) {
    return write_table(schema_of<Child>(), &static_cast<const FileLayout*>(object)->app);
  };
  static const TableSchema schema =
      TableBuilder<FileLayout>("Service file", "")
          .field("service", &FileLayout::service, "The service.")
          .field("network", &FileLayout::network, "The network.")
          .named("volume", &FileLayout::volumes, "Volumes.")
          .named("init", &FileLayout::init, "Tasks that run once, in file order, before the rest.")
          .named("adapter", &FileLayout::adapters, "Helpers that present the app to the outside.")
          .named("ambassador", &FileLayout::ambassadors,
                 "Helpers that present the outside to the app.")
          .named("sidecar", &FileLayout::sidecars, "Helpers beside the app, such as the proxy.")
          .custom(std::move(app))
          .done();
  return schema;
}

std::string_view role_key(Role role) { return name_of(role); }

}  // namespace pillion::config
