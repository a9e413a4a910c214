// From the app as it is configured to one generation of it: on which local ports it serves. During
// a deploy two generations run beside each other, each on ports of its own. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>

#include "config/child.h"
#include "runtime/result.h"

namespace pillion::supervisor::host {

// A port as it is configured, and where a generation serves it. Only TCP.
using AppPortMap = std::map<std::uint16_t, std::uint16_t>;

// Each port served where it is configured: the first generation's.
AppPortMap own_ports(const config::Child& app);

// The ports of the next generation: its own ones where they are not `taken` and free, else the
// first ones of `range` that are. The error says what is missing.
Result<AppPortMap> choose_app_ports(const config::Child& app, config::PortRange range,
                                    const std::set<std::uint16_t>& taken,
                                    const std::function<bool(std::uint16_t)>& is_free);

// `{port}` (the first) and `{port.NAME}` in command, env, exec probes and exec hooks are replaced,
// probes and hooks that name a port of the app go to where it is served, and PILLION_PORT and
// PILLION_PORT_NAME are set where `env` does not.
config::Child fill_app(config::Child app, const AppPortMap& ports);

}  // namespace pillion::supervisor::host
