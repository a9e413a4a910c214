#include "proxy/udp/peer.h"

#include <cstring>

namespace pillion::proxy::udp {

Result<void> tell_destinations(int fd) {
  const int on = 1;
  const bool is_v6 = local_address(fd).is_v6();
  const int done = is_v6 ? ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on)
                         : ::setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  if (done < 0) return fail_errno("cannot prepare a socket for datagrams");
  return {};
}

Address Peer::local() const {
  if (control_size_ == 0) return {};
  auto* head = reinterpret_cast<cmsghdr*>(const_cast<char*>(control_));
  if (head->cmsg_level == IPPROTO_IP) {
    in_pktinfo info;
    std::memcpy(&info, CMSG_DATA(head), sizeof info);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr = info.ipi_addr;
    return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&address));
  }
  in6_pktinfo info;
  std::memcpy(&info, CMSG_DATA(head), sizeof info);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = info.ipi6_addr;
  return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&address));
}

void Peer::prepare_for(msghdr& message) {
  message.msg_name = &name_;
  message.msg_namelen = sizeof name_;
  message.msg_control = control_;
  message.msg_controllen = sizeof control_;
}

// What came to an address is answered from it: the kernel takes the same message, but for the
// interface, which its routes choose unless the address means nothing without one.
void Peer::take_from(msghdr& message) {
  name_size_ = message.msg_namelen;
  control_size_ = 0;
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  for (; head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(head), sizeof info);
      info.ipi_ifindex = 0;
      info.ipi_spec_dst = info.ipi_addr;
      std::memcpy(CMSG_DATA(head), &info, sizeof info);
      control_size_ = CMSG_SPACE(sizeof info);
      return;
    }
    if (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(head), sizeof info);
      if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = 0;
      std::memcpy(CMSG_DATA(head), &info, sizeof info);
      control_size_ = CMSG_SPACE(sizeof info);
      return;
    }
  }
}

void Peer::put_into(msghdr& message) const {
  message.msg_name = const_cast<sockaddr_storage*>(&name_);
  message.msg_namelen = name_size_;
  if (control_size_ == 0) return;
  message.msg_control = const_cast<char*>(control_);
  message.msg_controllen = control_size_;
}

}  // namespace pillion::proxy::udp
