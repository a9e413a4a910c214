#include "proxy/address.h"

#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>

#include <charconv>
#include <cstring>
#include <functional>
#include <string_view>

namespace pillion::proxy {
namespace {

constexpr int kIpv6OriginalDst = 80;  // IP6T_SO_ORIGINAL_DST; its header clashes with netinet/in.h

bool is_v4_mapped(const sockaddr_in6& address) {
  return IN6_IS_ADDR_V4MAPPED(&address.sin6_addr) != 0;
}

}  // namespace

Address::Address() {
  std::memset(&storage_, 0, sizeof storage_);
  storage_.v4.sin_family = AF_INET;
}

Address::Address(const config::IpAddress& ip, std::uint16_t port) : Address() {
  if (ip.is_v6()) {
    storage_.v6.sin6_family = AF_INET6;
    storage_.v6.sin6_port = htons(port);
    std::memcpy(&storage_.v6.sin6_addr, ip.bytes.data(), 16);
  } else {
    storage_.v4.sin_port = htons(port);
    std::memcpy(&storage_.v4.sin_addr, ip.bytes.data(), 4);
  }
}

Address Address::from_sockaddr(const sockaddr* address) {
  Address result;
  if (address->sa_family == AF_INET) {
    std::memcpy(&result.storage_.v4, address, sizeof(sockaddr_in));
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof v6);
    if (is_v4_mapped(v6)) {
      result.storage_.v4.sin_port = v6.sin6_port;
      std::memcpy(&result.storage_.v4.sin_addr, v6.sin6_addr.s6_addr + 12, 4);
    } else {
      v6.sin6_flowinfo = 0;
      result.storage_.v6 = v6;
    }
  }
  return result;
}

bool Address::is_loopback() const {
  if (is_v6()) return IN6_IS_ADDR_LOOPBACK(&storage_.v6.sin6_addr) != 0;
  return (v4_bits() >> 24) == 127;
}

std::uint16_t Address::port() const {
  return ntohs(is_v6() ? storage_.v6.sin6_port : storage_.v4.sin_port);
}

Address Address::with_port(std::uint16_t port) const {
  Address result = *this;
  if (is_v6()) {
    result.storage_.v6.sin6_port = htons(port);
  } else {
    result.storage_.v4.sin_port = htons(port);
  }
  return result;
}

std::uint32_t Address::v4_bits() const { return is_v6() ? 0 : ntohl(storage_.v4.sin_addr.s_addr); }

std::string_view Address::write_to(char (&out)[kTextBytesMax]) const {
  char* end = out;
  char* const limit = out + sizeof out;
  if (is_v6()) {
    *end++ = '[';
    inet_ntop(AF_INET6, &storage_.v6.sin6_addr, end, INET6_ADDRSTRLEN);
    end += std::strlen(end);
    *end++ = ']';
  } else {
    const std::uint32_t bits = v4_bits();
    for (int shift = 24; shift >= 0; shift -= 8) {
      end = std::to_chars(end, limit, bits >> shift & 255).ptr;
      if (shift > 0) *end++ = '.';
    }
  }
  *end++ = ':';
  end = std::to_chars(end, limit, port()).ptr;
  return {out, static_cast<std::size_t>(end - out)};
}

void Address::append_to(std::string& out) const {
  char text[kTextBytesMax];
  out.append(write_to(text));
}

std::string Address::to_string() const {
  std::string text;
  append_to(text);
  return text;
}

std::size_t Address::hash() const {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(&storage_), size()});
}

bool Address::operator==(const Address& other) const {
  return storage_.any.sa_family == other.storage_.any.sa_family &&
         std::memcmp(&storage_, &other.storage_, size()) == 0;
}

Address original_destination(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, address, &size) == 0 && storage.ss_family != 0) {
    return Address::from_sockaddr(address);
  }
  size = sizeof storage;
  if (getsockopt(fd, SOL_IPV6, kIpv6OriginalDst, address, &size) == 0 && storage.ss_family != 0) {
    return Address::from_sockaddr(address);
  }
  return local_address(fd);
}

Address local_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (getsockname(fd, address, &size) != 0) return {};
  return Address::from_sockaddr(address);
}

Address peer_address(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (getpeername(fd, address, &size) != 0) return {};
  return Address::from_sockaddr(address);
}

}  // namespace pillion::proxy
