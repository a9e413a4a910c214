#include "netns/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

namespace pillion::netns {
namespace {

// Zeroes every bit after the first `prefix_length`.
Address masked(Address address, int prefix_length) {
  for (std::size_t i = 0; i < address.size(); ++i) {
    const int kept = std::clamp(prefix_length - static_cast<int>(i) * 8, 0, 8);
    address.bytes[i] &= static_cast<std::uint8_t>(0xff00 >> kept);
  }
  return address;
}

bool is_in(const Address& address, Family family, std::initializer_list<std::uint8_t> leading,
           int prefix_length) {
  Address range{family, {}};
  std::copy(leading.begin(), leading.end(), range.bytes.begin());
  return Cidr{range, prefix_length}.contains(address);
}

}  // namespace

bool Address::is_loopback() const {
  Address loopback6{Family::V6, {}};
  loopback6.bytes[15] = 1;
  return *this == loopback6 || is_in(*this, Family::V4, {127}, 8);
}

bool Address::is_link_local() const {
  return is_in(*this, Family::V4, {169, 254}, 16) || is_in(*this, Family::V6, {0xfe, 0x80}, 10);
}

std::string Address::text() const {
  char buffer[INET6_ADDRSTRLEN];
  return inet_ntop(family == Family::V4 ? AF_INET : AF_INET6, bytes.data(), buffer, sizeof buffer);
}

Address Address::plus(std::uint64_t offset) const {
  Address sum = *this;
  for (std::size_t i = size(); i-- > 0 && offset > 0;) {
    const std::uint64_t byte = sum.bytes[i] + (offset & 0xff);
    sum.bytes[i] = static_cast<std::uint8_t>(byte);
    offset = (offset >> 8) + (byte >> 8);
  }
  return sum;
}

Result<Address> parse_address(std::string_view text) {
  const std::string copy(text);
  if (copy.find('\0') != std::string::npos) return fail("an address cannot contain a zero byte");
  Address address;
  if (inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1) return address;
  address = Address{Family::V6, {}};
  if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) return address;
  return fail("'" + copy + "' is not an IPv4 or IPv6 address");
}

std::string Cidr::text() const { return address.text() + "/" + std::to_string(prefix_length); }

bool Cidr::contains(const Address& other) const {
  return other.family == address.family &&
         masked(other, prefix_length) == masked(address, prefix_length);
}

bool Cidr::overlaps(const Cidr& other) const {
  return prefix_length <= other.prefix_length ? contains(other.address) : other.contains(address);
}

Cidr Cidr::network() const { return {masked(address, prefix_length), prefix_length}; }

Result<Cidr> parse_cidr(std::string_view text) {
  const auto slash = text.find('/');
  auto address = parse_address(text.substr(0, slash));
  if (!address) return fail(address.error());
  if (slash == std::string_view::npos) return Cidr{*address, address->bits()};
  const std::string_view digits = text.substr(slash + 1);
  int length = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (error != std::errc() || end != digits.data() + digits.size() || length < 0 ||
      length > address->bits()) {
    return fail("'" + std::string(text) + "' is not an address range: the prefix length is 0 to " +
                std::to_string(address->bits()));
  }
  return Cidr{*address, length};
}

}  // namespace pillion::netns
