// Who a datagram came from and which address of ours it came to, on a socket that has many: the
// answer must come from the one that was asked.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

#include "proxy/address.h"
#include "runtime/result.h"

namespace pillion::proxy::udp {

// Makes the socket tell the address that each datagram was sent to.
Result<void> tell_destinations(int fd);

// Both addresses, as the kernel gave them and wants them back.
class Peer {
 public:
  Address address() const {
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&name_));
  }
  Address local() const;  // without a port; 0.0.0.0 when it was not told

  // Has `message`, which is about to be received, write here; this must not move meanwhile.
  void prepare_for(msghdr& message);
  // Takes what `message` has brought.
  void take_from(msghdr& message);
  // Makes `message` go to this peer, from the address it has talked to. Lives as long as `message`.
  void put_into(msghdr& message) const;

 private:
  sockaddr_storage name_{};
  socklen_t name_size_ = 0;
  // One control message: the address of ours that a datagram came to, or is to come from.
  alignas(cmsghdr) char control_[CMSG_SPACE(sizeof(in6_pktinfo))] = {};
  std::size_t control_size_ = 0;
};

}  // namespace pillion::proxy::udp
