// Looking at the network of a service as it is on the machine: `pillion-netns show`. Changes
// nothing.
#pragma once

#include <string>

#include "netns/wanted.h"
#include "runtime/result.h"

namespace pillion::netns {

struct Inspection {
  std::string service;
  bool is_pinned = false;
  bool has_interface = false;
  std::string host_rules;     // nft text with counters; "" = no table
  std::string capture_rules;  // "" = capture is not live
};

Result<Inspection> inspect(const Wanted& wanted);
// The nftables table (family inet) in the calling thread's namespace, with counters; "" = none.
std::string list_table(const std::string& table);
// The capture rules in the calling thread's namespace, with counters; "" = none.
std::string inspect_inside(const Wanted& wanted);
std::string inspection_to_json(const Inspection& inspection);

}  // namespace pillion::netns
