// Which services run on this machine, by their directories.
#pragma once

#include <string>
#include <vector>

namespace pillion::supervisor::cli {

// Names with a control socket in the runtime directory, sorted. A crashed one may be among them.
std::vector<std::string> list_services();

// "orders" of "orders", "/etc/pillion/orders.toml" and "./orders.toml".
std::string service_name_of(const std::string& argument);

}  // namespace pillion::supervisor::cli
