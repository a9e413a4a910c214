// What a listening socket is for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/proxy.h"
#include "proxy/router.h"
#include "proxy/stats.h"

namespace pillion::proxy {

struct ListenerInfo {
  std::string name;  // "inbound", "outbound6", "explicit-0", "publish-8080"
  ListenerKind kind = ListenerKind::Outbound;
  std::uint16_t app_port = 0;      // Publish: the app's port
  std::uint16_t own_port = 0;      // where the socket itself listens
  std::size_t explicit_index = 0;  // Explicit: index in config.explicit_listeners
  bool is_datagram = false;

  Direction direction() const {
    return kind == ListenerKind::Inbound || kind == ListenerKind::Publish ? Direction::Inbound
                                                                          : Direction::Outbound;
  }
};

}  // namespace pillion::proxy
