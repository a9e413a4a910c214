// Where a request goes: a pure decision from the snapshot, the listener and the request's
// authority.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "proxy/address.h"
#include "proxy/snapshot.h"

namespace pillion::proxy {

enum class ListenerKind : std::uint8_t { Inbound, Publish, Outbound, Explicit };

struct RouteQuestion {
  ListenerKind kind = ListenerKind::Outbound;
  std::string_view authority;
  Address destination;                  // original destination of a captured connection
  std::optional<std::size_t> upstream;  // the one an explicit listener is bound to
  bool is_fallback = false;             // `upstream` is for what no name leads to
};

struct RouteAnswer {
  enum class Kind : std::uint8_t { Upstream, Destination, Refused };
  Kind kind = Kind::Refused;
  std::size_t upstream = 0;  // Kind::Upstream
};

RouteAnswer choose_route(const Snapshot& snapshot, const RouteQuestion& question);

}  // namespace pillion::proxy
