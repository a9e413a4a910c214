// The units of the configuration file as types: sizes, CPU shares, ports, addresses, users, modes,
// signals. Plain values; parsing is in parse_units.h and never touches the system.
//
// Durations are std::chrono::milliseconds everywhere in config/.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/names.h"

namespace pillion::config {

// An amount of memory or disk, "64MiB" or "1GB" in the file.
struct Bytes {
  std::uint64_t value = 0;
  auto operator<=>(const Bytes&) const = default;
};

constexpr Bytes kibibytes(std::uint64_t count) { return Bytes{count << 10}; }
constexpr Bytes mebibytes(std::uint64_t count) { return Bytes{count << 20}; }

// Thousandths of one CPU: "0.5" and "500m" are both 500.
struct MilliCpu {
  std::uint32_t value = 0;
  auto operator<=>(const MilliCpu&) const = default;
};

// 1–65535; 0 only as "not given" inside other types.
using Port = std::uint16_t;

// Ports first..last, both included.
struct PortRange {
  Port first = 0;
  Port last = 0;
  unsigned count() const { return static_cast<unsigned>(last - first) + 1; }
  bool contains(Port port) const { return first <= port && port <= last; }
  auto operator<=>(const PortRange&) const = default;
};

// A port by number, or by the name of one of the child's `ports`. Loading resolves names: after it
// `number` is always set.
struct PortRef {
  Port number = 0;
  std::string name;
  bool operator==(const PortRef& other) const { return number == other.number; }
};

struct IpAddress {
  enum class Family : std::uint8_t { V4, V6 };
  Family family = Family::V4;
  std::array<std::uint8_t, 16> bytes{};  // network order; the first 4 for V4

  static std::optional<IpAddress> parse(std::string_view text);
  std::string to_string() const;
  bool is_v6() const { return family == Family::V6; }
  bool is_any() const;       // 0.0.0.0 or ::
  bool is_loopback() const;  // 127.0.0.0/8 or ::1
  auto operator<=>(const IpAddress&) const = default;
};

struct Cidr {
  IpAddress address;  // host bits are zero
  unsigned prefix = 0;

  std::string to_string() const;
  bool contains(const IpAddress& other) const;
  auto operator<=>(const Cidr&) const = default;
};

// A numeric address and port to listen on: "127.0.0.1:7000", "[::]:15021".
struct SocketAddress {
  IpAddress ip;
  Port port = 0;

  // For defaults in code; asserts that `text` is well formed.
  static SocketAddress of(std::string_view text);
  std::string to_string() const;
  auto operator<=>(const SocketAddress&) const = default;
};

// A peer to connect to, by name or numeric address: "users.internal:8443", "[2001:db8::1]:443".
struct HostPort {
  std::string host;  // without brackets
  Port port = 0;

  std::string to_string() const;
  auto operator<=>(const HostPort&) const = default;
};

// "orders", "1000" or "1000:1000". Loading resolves names through LoadOptions::lookup_user, so that
// `uid` and `gid` are set afterwards (`gid` stays empty for a bare number that passwd lacks).
struct UserRef {
  std::string name;  // empty when given by number
  std::optional<std::uint32_t> uid;
  std::optional<std::uint32_t> gid;

  std::string to_string() const;
  bool operator==(const UserRef&) const = default;
};

struct GroupRef {
  std::string name;  // empty when given by number
  std::optional<std::uint32_t> gid;

  std::string to_string() const;
  bool operator==(const GroupRef&) const = default;
};

// Permission bits, "0400" in the file.
struct FileMode {
  std::uint32_t value = 0;
  auto operator<=>(const FileMode&) const = default;
};

// A signal by name, "SIGTERM" or "TERM" in the file.
struct Signal {
  int number = 15;
  std::string to_string() const;
  auto operator<=>(const Signal&) const = default;
};

enum class Transport { Tcp, Udp };
PILLION_NAMES(Transport, {Transport::Tcp, "tcp"}, {Transport::Udp, "udp"});

// One entry of network.publish: "8080", "127.0.0.1:8080:80", "8000-8010:9000-9010", "53:53/udp".
// Both ranges have the same length.
struct Publish {
  std::optional<IpAddress> address;  // of the host; empty = all addresses, IPv4 and IPv6
  PortRange host;
  PortRange target;  // port of the app
  Transport transport = Transport::Tcp;

  std::string to_string() const;
  auto operator<=>(const Publish&) const = default;
};

// One entry of `mounts`: "NAME", "NAME:ro" or "NAME:rw". Without a suffix the app sees a tmpfs
// volume read-only, and everything else is writable; loading decides, so `is_read_only` is always
// right.
struct Mount {
  std::string volume;
  bool is_read_only = false;
  bool is_explicit = false;  // the file said :ro or :rw
  bool operator==(const Mount& other) const {
    return volume == other.volume && is_read_only == other.is_read_only;
  }
};

// "64MiB", "90s": written with the largest unit that divides the value.
std::string to_string(Bytes size);
std::string to_string(MilliCpu cpu);
std::string to_string(FileMode mode);
std::string to_string(std::chrono::milliseconds duration);

}  // namespace pillion::config
