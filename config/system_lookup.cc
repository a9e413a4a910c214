#include "config/system_lookup.h"

#include <grp.h>
#include <pwd.h>

#include <cstdlib>

namespace pillion::config {
namespace {

std::optional<std::string> environment_variable(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

// Loading runs before any thread exists, so the non-reentrant calls are safe.
std::optional<UserIds> passwd_entry(std::string_view name) {
  const passwd* entry = getpwnam(std::string(name).c_str());
  if (entry == nullptr) return std::nullopt;
  return UserIds{entry->pw_uid, entry->pw_gid};
}

std::optional<std::uint32_t> group_entry(std::string_view name) {
  const group* entry = getgrnam(std::string(name).c_str());
  if (entry == nullptr) return std::nullopt;
  return entry->gr_gid;
}

}  // namespace

LoadOptions system_load_options() {
  return {
      .lookup_env = environment_variable, .lookup_user = passwd_entry, .lookup_group = group_entry};
}

}  // namespace pillion::config
