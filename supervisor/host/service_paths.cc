#include "supervisor/host/service_paths.h"

#include <unistd.h>

#include <cstdlib>
#include <string>

#include <fmt/format.h>

namespace pillion::supervisor::host {
namespace {

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// `$XDG/pillion`, or `$HOME/below/pillion`, for a user without root.
std::string user_directory(const char* xdg, const char* below_home) {
  const std::string base = from_environment(xdg);
  if (!base.empty()) return base + "/pillion";
  const std::string home = from_environment("HOME");
  return (home.empty() ? "/tmp" : home) + below_home + "/pillion";
}

std::string runtime_parent() {
  const std::string given = from_environment("PILLION_RUNTIME_DIR");
  if (!given.empty()) return given;
  if (::geteuid() == 0) return "/run/pillion";
  const std::string xdg = from_environment("XDG_RUNTIME_DIR");
  return xdg.empty() ? fmt::format("/tmp/pillion-{}", ::geteuid()) : xdg + "/pillion";
}

}  // namespace

ServicePaths service_paths(const std::string& service) {
  const bool is_root = ::geteuid() == 0;
  std::string state = from_environment("PILLION_STATE_DIR");
  if (state.empty()) {
    state = is_root ? "/var/lib/pillion" : user_directory("XDG_STATE_HOME", "/.local/state");
  }
  std::string log = from_environment("PILLION_LOG_DIR");
  if (log.empty()) {
    log = is_root ? "/var/log/pillion" : user_directory("XDG_STATE_HOME", "/.local/state") + "/log";
  }
  return {runtime_parent() + "/" + service, state + "/" + service, log + "/" + service};
}

}  // namespace pillion::supervisor::host
