// iptables-restore and ip6tables-restore as programs, in the calling thread's network namespace:
// the writer for machines without nftables. Text goes in by stdin (SELinux denies them our files),
// the kernel takes each table whole or not at all. Blocking; at most 20 seconds per program.
#pragma once

#include <string>
#include <string_view>

#include "netns/wanted.h"
#include "runtime/result.h"

namespace pillion::netns {

// Loads the capture rules of `wanted` for IPv4 and, where the namespace has it, IPv6. Tries
// the variants (nft, legacy) in the order in which they are likely right for the machine; returns
// the one that worked ("iptables-legacy"). After a failure nothing of ours is left.
Result<std::string> apply_iptables_capture(const Wanted& wanted);

// Removes the service's chains from every variant that is installed; true when there were some.
Result<bool> remove_iptables_capture(std::string_view service);

// Cheap: whether chains of the service may be there, for callers that would rather not start the
// programs. False is certain.
bool may_have_iptables_capture(std::string_view service);

// What there is of the service, as iptables-save prints it with counters; "" = nothing.
std::string list_iptables_capture(std::string_view service);

}  // namespace pillion::netns
