#include "proxy/udp/batch.h"

#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace pillion::proxy::udp {
namespace {

// What came to an address is answered from it: the kernel takes the same message, but for the
// interface, which its routes choose unless the address means nothing without one.
void make_source(Peer& peer, msghdr& received) {
  cmsghdr* head = CMSG_FIRSTHDR(&received);
  peer.control_size = 0;
  for (; head != nullptr; head = CMSG_NXTHDR(&received, head)) {
    if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(head), sizeof info);
      info.ipi_ifindex = 0;
      info.ipi_spec_dst = info.ipi_addr;
      std::memcpy(CMSG_DATA(head), &info, sizeof info);
      peer.control_size = CMSG_SPACE(sizeof info);
      return;
    }
    if (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(head), sizeof info);
      if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) info.ipi6_ifindex = 0;
      std::memcpy(CMSG_DATA(head), &info, sizeof info);
      peer.control_size = CMSG_SPACE(sizeof info);
      return;
    }
  }
}

}  // namespace

Address Peer::local() const {
  if (control_size == 0) return {};
  auto* head = reinterpret_cast<cmsghdr*>(const_cast<char*>(control));
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

Batch::Batch() : bytes_(new char[kMessages * kBytesMax]) {}

int Batch::receive(int fd, bool has_peers) {
  for (std::size_t i = 0; i < kMessages; ++i) {
    parts_[i] = {bytes_.get() + i * kBytesMax, kBytesMax};
    msghdr& head = messages_[i].msg_hdr;
    head = {};
    head.msg_iov = &parts_[i];
    head.msg_iovlen = 1;
    if (!has_peers) continue;
    head.msg_name = &peers_[i].name;
    head.msg_namelen = sizeof peers_[i].name;
    head.msg_control = peers_[i].control;
    head.msg_controllen = sizeof peers_[i].control;
  }
  const int count = ::recvmmsg(fd, messages_.data(), kMessages, MSG_DONTWAIT, nullptr);
  if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
  for (std::size_t i = 0; has_peers && i < static_cast<std::size_t>(count); ++i) {
    peers_[i].name_size = messages_[i].msg_hdr.msg_namelen;
    make_source(peers_[i], messages_[i].msg_hdr);
  }
  return count;
}

std::size_t Batch::send(int fd, std::size_t first, std::size_t count, const Peer* to, int& error) {
  std::array<mmsghdr, kMessages> out;
  for (std::size_t i = 0; i < count; ++i) {
    parts_[first + i].iov_len = messages_[first + i].msg_len;
    msghdr& head = out[i].msg_hdr;
    head = {};
    head.msg_iov = &parts_[first + i];
    head.msg_iovlen = 1;
    if (to == nullptr) continue;
    head.msg_name = const_cast<sockaddr_storage*>(&to->name);
    head.msg_namelen = to->name_size;
    if (to->control_size == 0) continue;
    head.msg_control = const_cast<char*>(to->control);
    head.msg_controllen = to->control_size;
  }
  error = 0;
  const int sent =
      ::sendmmsg(fd, out.data(), static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) error = errno;
  return sent < 0 ? 0 : static_cast<std::size_t>(sent);
}

}  // namespace pillion::proxy::udp
