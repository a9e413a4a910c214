// IPv4 and IPv6 addresses and address ranges (CIDR), as plain values: parse, print, overlap.
// Pure; owned by value; never resolves names.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/result.h"

namespace pillion::netns {

enum class Family : std::uint8_t { V4, V6 };

// One address in network byte order; V4 uses the first four bytes, the rest are zero.
struct Address {
  Family family = Family::V4;
  std::array<std::uint8_t, 16> bytes{};

  auto operator<=>(const Address&) const = default;

  int bits() const { return family == Family::V4 ? 32 : 128; }
  // The number of bytes in use, 4 or 16.
  std::size_t size() const { return family == Family::V4 ? 4 : 16; }
  bool is_loopback() const;    // 127.0.0.0/8, ::1
  bool is_link_local() const;  // 169.254.0.0/16, fe80::/10
  std::string text() const;

  // The address `offset` further on; wraps inside the family.
  Address plus(std::uint64_t offset) const;
};

// "10.213.0.1" or "fd00::1"; names, zones ("%eth0") and ports are errors.
Result<Address> parse_address(std::string_view text);

// A range of addresses: the first one and the number of fixed leading bits.
struct Cidr {
  Address address;
  int prefix_length = 0;

  auto operator<=>(const Cidr&) const = default;

  std::string text() const;  // "10.213.0.0/16"
  bool contains(const Address& other) const;
  bool overlaps(const Cidr& other) const;
  // The same range with all host bits zero.
  Cidr network() const;
};

// "10.0.0.0/8", or one address, which is a range of its own. Host bits may be set: "10.0.0.1/8".
Result<Cidr> parse_cidr(std::string_view text);

}  // namespace pillion::netns
