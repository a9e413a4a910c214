// Loading with look-ups that a test controls: the variables and users below, and no others.
#pragma once

#include <string>
#include <string_view>

#include "config/load.h"

namespace pillion::config {

inline LoadOptions test_options() {
  LoadOptions options;
  options.lookup_env = [](std::string_view name) -> std::optional<std::string> {
    if (name == "REGION") return "eu-1";
    if (name == "PORT") return "8080";
    if (name == "EMPTY") return "";
    return std::nullopt;
  };
  options.lookup_user = [](std::string_view name) -> std::optional<UserIds> {
    if (name == "root") return UserIds{0, 0};
    if (name == "orders") return UserIds{2000, 2000};
    if (name == "ship") return UserIds{2001, 2001};
    return std::nullopt;
  };
  options.lookup_group = [](std::string_view name) -> std::optional<std::uint32_t> {
    if (name == "adm") return 4;
    return std::nullopt;
  };
  return options;
}

inline LoadResult<Service> load_text(std::string_view text) {
  return parse_service(text, "orders.toml", test_options());
}

// All problems as `pillion check` prints them.
inline std::string problems_of(std::string_view text) {
  return format_text(load_text(text).diagnostics);
}

}  // namespace pillion::config
