// Which listening sockets a service needs, for which child, and opening them. Made once, stored in
// the keeper, handed to each generation of the child by name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/service.h"
#include "runtime/fd.h"
#include "runtime/result.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::host {

struct ListenerPlan {
  std::string child;
  std::string name;  // in LISTEN_FDNAMES
  std::string address;
  std::uint16_t port = 0;
  std::string unix_path;             // instead of address and port
  bool is_inside = true;             // in the service's network namespace
  bool is_dual_stack = false;        // [::] that also takes IPv4
  bool is_transparent = false;       // takes connections to every address (TPROXY)
  bool prefers_transparent = false;  // the same, but an ordinary one does where it is not allowed
  bool is_datagram = false;          // UDP
  bool is_optional = false;          // IPv6 twins: skipped where the namespace has no IPv6
  std::optional<unsigned> owner;     // uid of a Unix socket

  std::string stored_name() const { return "listen:" + child + ":" + name; }
  bool operator==(const ListenerPlan&) const = default;
};

std::vector<ListenerPlan> plan_listeners(const config::Service& service, const ServicePaths& paths);

// Opens one. `network_namespace` -1 = our own. The error names address, port and, where /proc
// tells, who has it: "cannot listen on 0.0.0.0:8080 for proxy: address in use by pid 12 (nginx)".
Result<Fd> open_listener(const ListenerPlan& plan, int network_namespace);

// "pid 12 (nginx)" of whoever has that TCP or UDP port in our network namespace; empty when /proc
// does not tell.
std::string find_port_holder(std::uint16_t port, bool is_datagram = false);

}  // namespace pillion::supervisor::host
