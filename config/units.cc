#include "config/units.h"

#include <arpa/inet.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "config/parse_units.h"
#include "runtime/result.h"

namespace pillion::config {

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  IpAddress address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) return address;
  address.bytes = {};
  address.family = Family::V6;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(is_v6() ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text);
  return text;
}

bool IpAddress::is_any() const { return bytes == std::array<std::uint8_t, 16>{}; }

bool IpAddress::is_loopback() const {
  if (!is_v6()) return bytes[0] == 127;
  std::array<std::uint8_t, 16> one{};
  one[15] = 1;
  return bytes == one;
}

std::string Cidr::to_string() const { return address.to_string() + "/" + std::to_string(prefix); }

bool Cidr::contains(const IpAddress& other) const {
  if (other.family != address.family) return false;
  const std::size_t whole = prefix / 8;
  if (std::memcmp(address.bytes.data(), other.bytes.data(), whole) != 0) return false;
  if (prefix % 8 == 0) return true;
  const unsigned shift = 8 - prefix % 8;
  return (address.bytes[whole] >> shift) == (other.bytes[whole] >> shift);
}

SocketAddress SocketAddress::of(std::string_view text) {
  const auto parsed = parse_socket_address(text);
  PILLION_ASSERT(parsed.has_value());
  return *parsed;
}

std::string SocketAddress::to_string() const { return HostPort{ip.to_string(), port}.to_string(); }

std::string HostPort::to_string() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string UserRef::to_string() const {
  if (!name.empty()) return name;
  if (!uid) return "";
  return std::to_string(*uid) + (gid ? ":" + std::to_string(*gid) : "");
}

std::string GroupRef::to_string() const {
  if (!name.empty()) return name;
  return gid ? std::to_string(*gid) : "";
}

std::string Publish::to_string() const {
  const auto range = [](PortRange ports) {
    const std::string first = std::to_string(ports.first);
    return ports.first == ports.last ? first : first + "-" + std::to_string(ports.last);
  };
  std::string text;
  if (address)
    text = (address->is_v6() ? "[" + address->to_string() + "]" : address->to_string()) + ":";
  text += range(host);
  if (address || target != host) text += ":" + range(target);
  if (transport == Transport::Udp) text += "/udp";
  return text;
}

std::string to_string(Bytes size) {
  static constexpr std::pair<std::uint64_t, const char*> units[] = {
      {1ull << 40, "TiB"}, {1ull << 30, "GiB"}, {1ull << 20, "MiB"}, {1ull << 10, "KiB"}};
  for (const auto& [factor, name] : units) {
    if (size.value != 0 && size.value % factor == 0) {
      return std::to_string(size.value / factor) + name;
    }
  }
  return std::to_string(size.value) + "B";
}

std::string to_string(MilliCpu cpu) {
  if (cpu.value % 1000 == 0) return std::to_string(cpu.value / 1000);
  return std::to_string(cpu.value) + "m";
}

std::string to_string(FileMode mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", mode.value & 07777u);
  return text;
}

std::string to_string(std::chrono::milliseconds duration) {
  static constexpr std::pair<std::int64_t, const char*> units[] = {
      {3'600'000, "h"}, {60'000, "m"}, {1'000, "s"}};
  for (const auto& [factor, name] : units) {
    if (duration.count() != 0 && duration.count() % factor == 0) {
      return std::to_string(duration.count() / factor) + name;
    }
  }
  return duration.count() == 0 ? "0s" : std::to_string(duration.count()) + "ms";
}

}  // namespace pillion::config
