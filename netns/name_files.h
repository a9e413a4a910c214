// The files by which children of a service resolve names: resolv.conf, hosts, nsswitch.conf.
// Rendered as text from the host's own files; pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "netns/facts.h"
#include "netns/wanted.h"

namespace pillion::netns {

// The text of the namespace's resolv.conf. `host_text` is the host's /etc/resolv.conf,
// `upstream_text` that of a local stub resolver's own servers (/run/systemd/resolve/resolv.conf),
// "" without one. Servers that cannot be reached from inside (loopback, link-local) are left out; a
// warning is added when none remains.
std::string render_resolv_conf(const Dns& dns, std::string_view host_text,
                               std::string_view upstream_text, std::vector<std::string>& warnings);

// The text of the namespace's hosts file: localhost, the service itself, host.pillion.internal (the
// host's end), the aliases, then the host's own entries without names given above. The host's name,
// which many distributions put on 127.0.1.1, stays: programs look their own host up.
// For exempt helpers without the aliases that are virtual addresses of upstreams.
enum class HostsReader : std::uint8_t { Captured, Exempt };
std::string render_hosts(const Wanted& wanted, const Facts& facts, std::string_view host_text,
                         HostsReader reader);

// The host's nsswitch.conf with `hosts: files dns`: modules that ask a daemon of the host (resolve,
// mymachines) would answer for the host.
std::string render_nsswitch_conf(std::string_view host_text);

}  // namespace pillion::netns
