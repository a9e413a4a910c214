// Where a service keeps things on the host. Parents may be overridden by PILLION_RUNTIME_DIR,
// PILLION_STATE_DIR and PILLION_LOG_DIR; without root they default to XDG directories.
#pragma once

#include <string>

namespace pillion::supervisor::host {

struct ServicePaths {
  std::string runtime;  // sockets, state file, children's tables; gone when the service ends
  std::string state;    // volumes, the last receipt; stays
  std::string log;      // children's output; stays

  std::string control_socket() const { return runtime + "/control"; }
  // By number: a socket's path has room for 107 bytes only.
  std::string notify_socket(std::size_t child) const {
    return runtime + "/notify." + std::to_string(child);
  }
  std::string state_file() const { return runtime + "/state.json"; }
  std::string accepted_directory() const { return runtime + "/accepted"; }
  std::string child_table(const std::string& child) const {
    return runtime + "/" + child + ".toml";
  }
  // Where secrets children tell logs children what they have issued.
  std::string issued() const { return runtime + "/issued"; }
  std::string admin_socket(const std::string& child) const {
    return runtime + "/" + child + ".admin.sock";
  }
  std::string volume(const std::string& name) const { return state + "/volumes/" + name; }
  // A component's own place for what it must remember (a log adapter's checkpoint).
  std::string child_state(const std::string& child) const { return state + "/children/" + child; }
  std::string staging() const { return runtime + "/volumes"; }
};

ServicePaths service_paths(const std::string& service);

}  // namespace pillion::supervisor::host
