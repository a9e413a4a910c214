// Datagrams on a socket that has many addresses: an answer must come from the one that was asked.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/address.h"
#include "runtime/result.h"

namespace pillion::proxy::dns {

struct Datagram {
  std::string bytes;
  Address from;
  Address to;  // its port is not told
};

// Makes the socket tell the address that each datagram was sent to.
Result<void> prepare_datagrams(int fd);
// Empty when there is none (any more).
std::optional<Datagram> receive_datagram(int fd);
// Lost when the socket's buffer is full, as datagrams may be.
void send_answer(int fd, const Datagram& asked, std::string_view answer);

}  // namespace pillion::proxy::dns
