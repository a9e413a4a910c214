#include "supervisor/cli/running_services.h"

#include <algorithm>
#include <filesystem>

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

}  // namespace pillion::supervisor::cli
