// Which services run on this machine, and how to reach them.
#pragma once

#include <string>
#include <vector>

#include "runtime/result.h"
#include "supervisor/control/control_client.h"

namespace pillion::supervisor::cli {

// Names with a control socket in the runtime directory, sorted. A crashed one may be among them.
std::vector<std::string> list_services();

// Nobody there is an error with errno ENOENT whose message says what to do. `name` may also be the
// path of a service file.
Result<control::ControlClient> connect_to(const std::string& name);

// "orders" of "orders", "/etc/pillion/orders.toml" and "./orders.toml".
std::string service_name_of(const std::string& argument);

// A connection problem as exit code: not running, or failed.
int exit_code_of(const Error& error);

}  // namespace pillion::supervisor::cli
