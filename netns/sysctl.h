// Kernel settings under /proc/sys; those of the network are the calling thread's namespace's.
// Names are paths with "/" ("net/ipv4/ip_forward"), because interface names may contain dots.
#pragma once

#include <string>
#include <string_view>

#include "runtime/result.h"

namespace pillion::netns {

// The value without its newline; "" when there is no such setting.
std::string read_sysctl(const std::string& name);
// Does not write what is there already.
Result<void> write_sysctl(const std::string& name, std::string_view value);
// "net.ipv4.ip_forward", as sysctl(8) writes it.
std::string sysctl_display_name(std::string_view name);

}  // namespace pillion::netns
