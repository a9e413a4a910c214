// On which local port each port of the app is served: the same one, until a deploy moves it to the
// next generation of the app. What was accepted before goes on where it is. Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "config/proxy.h"
#include "runtime/result.h"

namespace pillion::proxy {

struct AppPort {
  std::uint16_t port = 0;      // the app's, as it is configured
  std::uint16_t app_port = 0;  // where the app listens now
  bool operator==(const AppPort&) const = default;
};

class AppPorts {
 public:
  AppPorts() = default;
  // Each port served where it is configured, but for the `moves` (of other ports: ignored).
  explicit AppPorts(const std::vector<config::InboundPort>& ports,
                    const std::vector<AppPort>& moves = {});

  const std::vector<AppPort>& all() const { return ports_; }
  AppPorts moved(const std::vector<AppPort>& moves) const;
  // A port that is not configured leads to itself.
  std::uint16_t app_port_of(std::uint16_t port) const;
  // The app serves something on this local port now.
  bool is_served_on(std::uint16_t app_port) const;

  bool operator==(const AppPorts&) const = default;

 private:
  std::vector<AppPort> ports_;
};

// "8080=18080&9000=19000": the moves that an administrator asks for, or the supervisor when it
// starts us (PILLION_APP_PORTS). Each port must be one of `known`, and named once.
Result<std::vector<AppPort>> parse_app_ports(std::string_view query, const AppPorts& known);

}  // namespace pillion::proxy
