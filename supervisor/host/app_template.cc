#include "supervisor/host/app_template.h"

#include <fmt/format.h>

#include <algorithm>

namespace pillion::supervisor::host {
namespace {

bool is_moved(const config::ChildPort& port) { return port.protocol != config::AppProtocol::Udp; }

std::uint16_t served_on(const AppPortMap& ports, std::uint16_t port) {
  const auto found = ports.find(port);
  return found == ports.end() ? port : found->second;
}

void replace_all(std::string& text, const std::string& token, const std::string& value) {
  for (auto at = text.find(token); at != std::string::npos;
       at = text.find(token, at + value.size())) {
    text.replace(at, token.size(), value);
  }
}

// What `{port}` and `{port.NAME}` stand for.
std::map<std::string, std::string> tokens_of(const config::Child& app, const AppPortMap& ports) {
  std::map<std::string, std::string> tokens;
  for (const config::ChildPort& port : app.ports) {
    if (!is_moved(port)) continue;
    const std::string value = std::to_string(served_on(ports, port.port));
    tokens.try_emplace("{port}", value);
    if (!port.name.empty()) tokens.try_emplace("{port." + port.name + "}", value);
  }
  return tokens;
}

std::string variable_of(const std::string& port_name) {
  std::string name = "PILLION_PORT_";
  for (const char c : port_name) {
    const bool is_lower = c >= 'a' && c <= 'z';
    const bool is_plain = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += is_lower ? static_cast<char>(c - 'a' + 'A') : is_plain ? c : '_';
  }
  return name;
}

struct Filler {
  const std::map<std::string, std::string> tokens;
  const AppPortMap& ports;

  void fill(std::string& text) const {
    for (const auto& [token, value] : tokens) replace_all(text, token, value);
  }
  void fill(std::vector<std::string>& words) const {
    for (std::string& word : words) fill(word);
  }
  template<class Action>
  void move(std::optional<Action>& action) const {
    if (action && action->port) action->port->number = served_on(ports, action->port->number);
  }
  void fill(std::optional<config::Probe>& probe) const {
    if (!probe) return;
    if (probe->exec) fill(probe->exec->command);
    move(probe->http);
    move(probe->tcp);
    move(probe->grpc);
  }
  void fill(std::optional<config::Hook>& hook) const {
    if (!hook) return;
    if (hook->exec) fill(hook->exec->command);
    move(hook->http);
  }
};

}  // namespace

AppPortMap own_ports(const config::Child& app) {
  AppPortMap ports;
  for (const config::ChildPort& port : app.ports) {
    if (is_moved(port)) ports[port.port] = port.port;
  }
  return ports;
}

Result<AppPortMap> choose_app_ports(const config::Child& app, config::PortRange range,
                                    const std::set<std::uint16_t>& taken,
                                    const std::function<bool(std::uint16_t)>& is_free) {
  AppPortMap ports;
  std::set<std::uint16_t> used = taken;
  for (const auto& [port, own] : own_ports(app)) used.insert(own);
  for (const auto& [port, own] : own_ports(app)) {
    if (taken.count(port) == 0 && is_free(port)) {
      ports[port] = port;
      continue;
    }
    for (unsigned candidate = range.first; candidate <= range.last; ++candidate) {
      const auto number = static_cast<std::uint16_t>(candidate);
      if (used.count(number) > 0 || !is_free(number)) continue;
      ports[port] = number;
      used.insert(number);
      break;
    }
    if (ports.count(port) == 0) {
      return fail(
          fmt::format("no port of {}-{} is free for the next generation: `--ports "
                      "FIRST-LAST` names others",
                      range.first, range.last));
    }
  }
  return ports;
}

config::Child fill_app(config::Child app, const AppPortMap& ports) {
  const Filler filler{tokens_of(app, ports), ports};
  filler.fill(app.command);
  for (auto& [name, value] : app.env) filler.fill(value);
  for (auto* probe : {&app.startup_probe, &app.readiness_probe, &app.liveness_probe}) {
    filler.fill(*probe);
  }
  filler.fill(app.post_start);
  filler.fill(app.pre_stop);
  for (const config::ChildPort& port : app.ports) {
    if (!is_moved(port)) continue;
    const std::string value = std::to_string(served_on(ports, port.port));
    app.env.try_emplace("PILLION_PORT", value);
    if (!port.name.empty()) app.env.try_emplace(variable_of(port.name), value);
  }
  return app;
}

}  // namespace pillion::supervisor::host
