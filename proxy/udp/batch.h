// Many datagrams in one system call each way (recvmmsg, sendmmsg), and the memory that they are in:
// what was received is sent on from where it lies.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <memory>

#include "proxy/udp/peer.h"

namespace pillion::proxy::udp {

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
