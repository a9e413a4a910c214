#include "proxy/app_ports.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace pillion::proxy {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool is_whole = error == std::errc() && end == text.data() + text.size();
  return is_whole && port > 0 ? std::optional(port) : std::nullopt;
}

const AppPort* find(const std::vector<AppPort>& ports, std::uint16_t port) {
  const auto found = std::find_if(ports.begin(), ports.end(),
                                  [&](const AppPort& one) { return one.port == port; });
  return found == ports.end() ? nullptr : &*found;
}

}  // namespace

AppPorts::AppPorts(const std::vector<config::InboundPort>& ports,
                   const std::vector<AppPort>& moves) {
  for (const config::InboundPort& one : ports) ports_.push_back({one.port, one.port});
  *this = moved(moves);
}

AppPorts AppPorts::moved(const std::vector<AppPort>& moves) const {
  AppPorts result = *this;
  for (AppPort& one : result.ports_) {
    const AppPort* move = find(moves, one.port);
    if (move != nullptr) one.app_port = move->app_port;
  }
  return result;
}

std::uint16_t AppPorts::app_port_of(std::uint16_t port) const {
  const AppPort* found = find(ports_, port);
  return found == nullptr ? port : found->app_port;
}

bool AppPorts::is_served_on(std::uint16_t app_port) const {
  return std::any_of(ports_.begin(), ports_.end(),
                     [&](const AppPort& one) { return one.app_port == app_port; });
}

Result<std::vector<AppPort>> parse_app_ports(std::string_view query, const AppPorts& known) {
  std::vector<AppPort> moves;
  while (!query.empty()) {
    const std::string_view one = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(one.size() + 1, query.size()));
    const auto equals = std::min(one.find('='), one.size());
    const auto port = parse_port(one.substr(0, equals));
    const auto app_port = parse_port(one.substr(std::min(equals + 1, one.size())));
    if (!port || !app_port) {
      return fail(fmt::format("\"{}\" is not PORT=APP_PORT, such as 8080=18080", one));
    }
    if (find(known.all(), *port) == nullptr) {
      return fail(fmt::format("{} is no port of the app: inbound.ports does not have it", *port));
    }
    if (find(moves, *port) != nullptr) return fail(fmt::format("{} is named twice", *port));
    moves.push_back({*port, *app_port});
  }
  if (moves.empty()) return fail("say which port is served where: ?8080=18080");
  return moves;
}

}  // namespace pillion::proxy
