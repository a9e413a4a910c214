// Strict parsing of single values. Each returns empty on anything that is not exactly the form the
// reference page describes: no surrounding blanks, no signs, no silent rounding or overflow.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "config/units.h"

namespace pillion::config {

// "500ms", "10s", "5m", "1h30m", "2d"; "0" alone is zero. At most about 290 years.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
// "512B", "64KiB", "1.5GiB" (1024) or "64kB", "1GB" (1000); a fraction must give whole bytes.
std::optional<Bytes> parse_bytes(std::string_view text);
// "2", "0.5", "250m"; not finer than one thousandth.
std::optional<MilliCpu> parse_cpu(std::string_view text);
std::optional<Port> parse_port(std::string_view text);
// "8080" or "8000-8010"
std::optional<PortRange> parse_port_range(std::string_view text);
// "10.0.0.0/8", "fd00::/8"; host bits must be zero. A bare address is /32 or /128.
std::optional<Cidr> parse_cidr(std::string_view text);
std::optional<SocketAddress> parse_socket_address(std::string_view text);
std::optional<HostPort> parse_host_port(std::string_view text);
std::optional<UserRef> parse_user(std::string_view text);
std::optional<GroupRef> parse_group(std::string_view text);
// Three or four octal digits.
std::optional<FileMode> parse_file_mode(std::string_view text);
// "SIGTERM", "TERM", "SIGRTMIN+3"
std::optional<Signal> parse_signal(std::string_view text);
std::optional<Publish> parse_publish(std::string_view text);
std::optional<Mount> parse_mount(std::string_view text);

// A DNS name or numeric address.
bool is_host_name(std::string_view text);
// Children, volumes and services: [a-z0-9]([a-z0-9-]*[a-z0-9])?, at most 63.
bool is_child_name(std::string_view text);

}  // namespace pillion::config
