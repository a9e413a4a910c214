// Looking at a service's network for diagnose(): reads rules, sockets, counters and settings in its
// namespace, asks its name servers a question, and makes one connection per address family to an
// address that leads nowhere, to see whether capture takes it. Changes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "netns/diagnosis.h"
#include "netns/wanted.h"

namespace pillion::netns {

struct ExamineOptions {
  std::string resolv_conf = "/etc/resolv.conf";  // the one that the service's programs see
  bool tries_connections = true;
  bool asks_name_servers = true;
  bool knows_configuration =
      true;  // false: `wanted` is only a name, rules are not compared with it
  std::vector<std::uint32_t> app_uids;
};

View examine(const Wanted& wanted, const ExamineOptions& options);

// Parts on this machine of services whose namespace nobody is in, but for the ones that run. Needs
// root for all of them.
std::vector<Leftover> find_leftovers(const std::vector<std::string>& running);

}  // namespace pillion::netns
