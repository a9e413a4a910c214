// One query in a datagram, and its answer.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/udp/peer.h"

namespace pillion::proxy::dns {

struct Datagram {
  std::string bytes;
  udp::Peer from;
};

// From a socket that tells destinations (udp::tell_destinations). Empty when there is none (any
// more).
std::optional<Datagram> receive_datagram(int fd);
// Lost when the socket's buffer is full, as datagrams may be.
void send_answer(int fd, const Datagram& asked, std::string_view answer);

}  // namespace pillion::proxy::dns
