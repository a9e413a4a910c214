// Which fields stay on this hop (RFC 9110 §7.6.1), and which trailers may travel (§6.5.1).
#pragma once

#include <cstddef>

#include "runtime/http1/head.h"

namespace pillion::http1 {

// Marks as removed: Connection and what it nominates, Keep-Alive, Proxy-Connection, TE, Upgrade
// (unless `keeps_upgrade`), Transfer-Encoding and Content-Length, which the sender of the next
// message writes anew from its own framing. A nomination of Host, Authorization, forwarding or
// trace fields would let a client strip what the next hop relies on: it is ignored and counted in
// the return value.
std::size_t remove_hop_by_hop(Fields& fields, bool keeps_upgrade);

// Whether a Connection field of `fields` nominates `name`.
bool is_nominated(const Fields& fields, std::string_view name);

// Marks as removed the trailers that must not arrive as trailers: framing, routing, connection,
// authentication fields.
void remove_forbidden_trailers(Fields& trailers);

}  // namespace pillion::http1
