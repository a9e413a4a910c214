// Many datagrams in one system call each way (recvmmsg, sendmmsg), and the memory that they are in:
// what was received is sent on from where it lies.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string_view>

#include "proxy/address.h"

namespace pillion::proxy::udp {

// An address with the one of ours that it talked to, as the kernel gave them and wants them back.
struct Peer {
  sockaddr_storage name{};
  socklen_t name_size = 0;
  // One control message: the address of ours that a datagram came to, or is to come from.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in6_pktinfo))] = {};
  std::size_t control_size = 0;

  Address address() const {
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&name));
  }
  Address local() const;  // without a port; 0.0.0.0 when it was not told
};

class Batch {
 public:
  static constexpr std::size_t kMessages = 16;
  // More than a datagram can hold: none is cut.
  static constexpr std::size_t kBytesMax = 64 * 1024;

  Batch();

  // Returns how many came, 0 when there are none (any more), or -errno. `peers` are filled in where
  // the socket is not connected.
  int receive(int fd, bool has_peers);
  std::size_t size_of(std::size_t i) const { return messages_[i].msg_len; }
  const Peer& peer(std::size_t i) const { return peers_[i]; }

  // Sends messages first … first + count on, to a connected socket or to `to`. Returns how many the
  // kernel took; `error` says why not all.
  std::size_t send(int fd, std::size_t first, std::size_t count, const Peer* to, int& error);

 private:
  std::unique_ptr<char[]> bytes_;  // untouched pages cost nothing
  std::array<Peer, kMessages> peers_;
  std::array<iovec, kMessages> parts_;
  std::array<mmsghdr, kMessages> messages_;
};

}  // namespace pillion::proxy::udp
