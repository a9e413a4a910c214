// The capture rules of a service for iptables-restore and ip6tables-restore: the same decisions as
// render_capture_rules(), for kernels and containers without nftables. Everything is in chains of
// the service's own, entered by one jump each from a built-in chain. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "netns/address.h"
#include "netns/wanted.h"

namespace pillion::netns {

// One chain of ours and the built-in chain that jumps to it; `hook` is empty for inner chains.
struct OwnChain {
  std::string table;  // "nat"
  std::string name;   // "PIL1a2b3c4d_OUT", at most 28 characters
  std::string hook;   // "OUTPUT"
};

// Every chain that the service may have, in the order in which they can be deleted.
std::vector<OwnChain> iptables_chains(std::string_view service);

// Input for `iptables-restore --noflush`. `existing` is the output of iptables-save: it tells which
// jumps are there already. A chain that is there is refilled; each table is replaced atomically.
std::string render_iptables_capture(const Wanted& wanted, Family family, std::string_view existing);

// Removes what `existing` has of the service; "" when that is nothing.
std::string render_iptables_removal(std::string_view service, std::string_view existing);

// Input for `iptables-restore --noflush` that brings back what `existing` has of the service, where
// nothing of it is left; "" when that is nothing.
std::string render_iptables_restoration(std::string_view service, std::string_view existing);

// Names of tables in an iptables-save listing that hold no rule, no chain but the built-in ones and
// no policy but ACCEPT; of mangle, nat and raw only.
std::vector<std::string> unused_iptables_tables(std::string_view listing);

// The tables that the capture rules of `wanted` need: nat always, mangle, raw.
std::vector<std::string> iptables_tables(const Wanted& wanted);

}  // namespace pillion::netns
