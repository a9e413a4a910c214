// The trials of `doctor`: a connection and a DNS query, in the calling thread's network namespace.
#pragma once

#include <cstdint>
#include <string>

#include "netns/address.h"
#include "runtime/result.h"

namespace pillion::netns {

enum class TrialOutcome { Accepted, Refused, NoRoute, NoAnswer };

// A TCP connection made by a child process as user `uid`, closed at once. At most two seconds.
Result<TrialOutcome> try_connection(const Address& address, std::uint16_t port, std::uint32_t uid);

// Asks for a name that cannot exist (RFC 6761 §6.4); any answer will do. At most two seconds.
bool try_query(const Address& server);

}  // namespace pillion::netns
