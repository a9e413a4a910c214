// A socket address as a value: what we connect to and who connected to us. IPv4 and IPv6 only; an
// IPv4-mapped IPv6 address is kept as the IPv4 address it stands for.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/units.h"

namespace pillion::proxy {

class Address {
 public:
  Address();  // 0.0.0.0:0
  Address(const config::IpAddress& ip, std::uint16_t port);
  static Address from_sockaddr(const sockaddr* address);

  bool is_v6() const { return storage_.any.sa_family == AF_INET6; }
  bool is_loopback() const;
  std::uint16_t port() const;
  Address with_port(std::uint16_t port) const;
  std::uint32_t v4_bits() const;  // host order; 0 for IPv6

  const sockaddr* data() const { return &storage_.any; }
  socklen_t size() const { return is_v6() ? sizeof storage_.v6 : sizeof storage_.v4; }

  std::string to_string() const;
  void append_to(std::string& out) const;  // "10.0.0.1:80", "[::1]:80"
  static constexpr std::size_t kTextBytesMax = 64;
  // The same, without an allocation; a view of `out`.
  std::string_view write_to(char (&out)[kTextBytesMax]) const;
  std::size_t hash() const;
  bool operator==(const Address& other) const;

 private:
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } storage_;
};

struct AddressHash {
  std::size_t operator()(const Address& address) const { return address.hash(); }
};

// Where a captured connection wanted to go: SO_ORIGINAL_DST when it was redirected, else its local
// address (TPROXY, or a direct connection).
Address original_destination(int fd);
Address local_address(int fd);
Address peer_address(int fd);

}  // namespace pillion::proxy
