// Looking at the network of a service as it is on the machine: `pillion-netns show` and `verify`.
// Changes nothing.
#pragma once

#include <string>
#include <vector>

#include "netns/wanted.h"
#include "runtime/result.h"

namespace pillion::netns {

// One thing that must be as wanted, and how it was found.
struct Check {
  std::string name;
  bool is_ok = false;
  std::string detail;
};

struct Inspection {
  std::string service;
  bool is_pinned = false;
  bool has_interface = false;
  std::string host_rules;     // nft text with counters; "" = no table
  std::string capture_rules;  // "" = capture is not live
};

Result<Inspection> inspect(const Wanted& wanted);
std::string inspection_to_json(const Inspection& inspection);

// Every part of the network; `with_capture`: the capture rules, too.
Result<std::vector<Check>> verify(const Wanted& wanted, bool with_capture);
std::string checks_to_json(const std::vector<Check>& checks);

}  // namespace pillion::netns
