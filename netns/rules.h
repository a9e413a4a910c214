// The nftables rules of a service, as text: capture inside its namespace, and address translation
// on the host. Each text is one transaction that replaces the service's own table whole
// and touches no other table. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "netns/facts.h"
#include "netns/wanted.h"

namespace pillion::netns {

// Loaded inside the namespace; InboundMethod::Auto is rendered as Redirect. Outbound connections of
// everybody but the exempt users go to 15001, connections from outside to declared ports go to
// 15006; loopback and 127.0.0.6/::6 are left alone.
std::string render_capture_rules(const Wanted& wanted);

// Loaded on the host for a bridged service: masquerade, forwarding, and DNAT for translated ports.
// Needs `facts` with addresses and the host interface.
std::string render_host_rules(const Wanted& wanted, const Facts& facts);

// The same rules for a table that must not exist yet. Faster where that is so: to replace, even
// nothing, makes the kernel wait for a grace period.
std::string creating_rules(const std::string& replacing_rules, const std::string& table);

// Declared inbound ports that are captured: without excluded ones and without Pillion's own.
std::vector<std::uint16_t> captured_inbound_ports(const Intercept& intercept);
// Excluded ones and Pillion's own.
std::vector<std::uint16_t> uncaptured_inbound_ports(const Intercept& intercept);
// Some inbound port is captured.
bool captures_inbound(const Intercept& intercept);

// Eight hexadecimal digits that differ when the rules differ.
std::string fingerprint_of(std::string_view rules);

// Some published ports are translated by the kernel (DNAT).
bool has_translated_ports(const Wanted& wanted);

}  // namespace pillion::netns
