// From TOML text to validated structs. Nothing here touches the system beyond reading the named
// file: the environment and the user database are asked through LoadOptions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/diagnostic.h"
#include "config/service.h"

namespace pillion::config {

struct UserIds {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

struct LoadOptions {
  // Value of an environment variable for ${VAR}; empty = none are defined.
  std::function<std::optional<std::string>(std::string_view name)> lookup_env;
  // Ids of a user name; empty function = names are not checked and stay unresolved, except the
  // components' own users, which always have their fixed ids.
  std::function<std::optional<UserIds>(std::string_view name)> lookup_user;
  std::function<std::optional<std::uint32_t>(std::string_view name)> lookup_group;
};

// `value` is there exactly when no diagnostic is an error.
template<class T>
struct LoadResult {
  std::optional<T> value;
  std::vector<Diagnostic> diagnostics;
};

LoadResult<Service> load_service(const std::string& path, const LoadOptions& options);
LoadResult<Service> parse_service(std::string_view text, const std::string& filename,
                                  const LoadOptions& options);

// A child's `config` table as a document of its own. T is one of ProxyConfig, LogsConfig,
// SecretsConfig, EgressConfig, MetricsConfig.
template<class T>
LoadResult<T> load_component(const std::string& path, const LoadOptions& options);
template<class T>
LoadResult<T> parse_component(std::string_view text, const std::string& filename,
                              const LoadOptions& options);

// The table of one child of a service file (`--service FILE --child NAME`), filled in as the
// supervisor does (complete_components in render.h).
template<class T>
LoadResult<T> load_child_component(const std::string& path, std::string_view child,
                                   const LoadOptions& options);

}  // namespace pillion::config
