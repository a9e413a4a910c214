#include "supervisor/cli/running_services.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "config/parse_units.h"
#include "supervisor/cli/cli.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::cli {

std::vector<std::string> list_services() {
  const std::filesystem::path parent =
      std::filesystem::path(host::service_paths("any").runtime).parent_path();
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(parent, ignored)) {
    if (!std::filesystem::exists(entry.path() / "control", ignored)) continue;
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string service_name_of(const std::string& argument) {
  const std::filesystem::path path(argument);
  return path.extension() == ".toml" ? path.stem().string() : argument;
}

Result<control::ControlClient> connect_to(const std::string& name) {
  const std::string service = service_name_of(name);
  if (!config::is_child_name(service)) {
    return fail(fmt::format("\"{}\" is not the name of a service", service));
  }
  auto client = control::ControlClient::connect(host::service_paths(service).control_socket());
  if (client) return client;
  const int reason = client.error().errno_value();
  if (reason == EACCES) {
    return fail(
        fmt::format("{}; use sudo, or be the user who runs the service", client.error().message()));
  }
  if (reason != ENOENT && reason != ECONNREFUSED) return client;
  const auto running = list_services();
  std::string names;
  for (const std::string& one : running) names += (names.empty() ? "" : ", ") + one;
  return fail(
      Error(fmt::format("no service \"{}\" is running here ({}).\n"
                        "Start it with `pillion run {}.toml`, or `systemctl start "
                        "pillion@{}` when its file is in /etc/pillion.",
                        service, names.empty() ? "none is" : "running: " + names, service, service),
            ENOENT));
}

int exit_code_of(const Error& error) {
  return error.errno_value() == ENOENT ? kExitNotRunning : kExitFailed;
}

}  // namespace pillion::supervisor::cli
