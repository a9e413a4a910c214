#include "proxy/dns/datagram.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace pillion::proxy::dns {
namespace {

constexpr std::size_t kQueryMax = 4096;  // longer ones are cut, and so malformed

// Room for one control message, aligned as the kernel wants it.
union Control {
  char bytes[CMSG_SPACE(sizeof(in6_pktinfo))];
  cmsghdr alignment;
};

Address destination_of(msghdr& message) {
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    if (one->cmsg_level == IPPROTO_IP && one->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(one), sizeof info);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr = info.ipi_addr;
      return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&address));
    }
    if (one->cmsg_level == IPPROTO_IPV6 && one->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(one), sizeof info);
      sockaddr_in6 address{};
      address.sin6_family = AF_INET6;
      address.sin6_addr = info.ipi6_addr;
      return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&address));
    }
  }
  return {};
}

template<class Info>
void put_control(msghdr& message, int level, int type, const Info& info) {
  message.msg_controllen = CMSG_SPACE(sizeof info);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof info);
  std::memcpy(CMSG_DATA(header), &info, sizeof info);
}

void put_source(msghdr& message, const Address& source) {
  if (source.is_v6()) {
    in6_pktinfo info{};
    info.ipi6_addr = reinterpret_cast<const sockaddr_in6*>(source.data())->sin6_addr;
    put_control(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
  } else {
    in_pktinfo info{};
    info.ipi_spec_dst = reinterpret_cast<const sockaddr_in*>(source.data())->sin_addr;
    put_control(message, IPPROTO_IP, IP_PKTINFO, info);
  }
}

}  // namespace

Result<void> prepare_datagrams(int fd) {
  const int on = 1;
  const bool is_v6 = local_address(fd).is_v6();
  const int done = is_v6 ? ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on)
                         : ::setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  if (done < 0) return fail_errno("cannot prepare a socket for DNS queries");
  return {};
}

std::optional<Datagram> receive_datagram(int fd) {
  Datagram datagram;
  datagram.bytes.resize(kQueryMax);
  iovec part{datagram.bytes.data(), datagram.bytes.size()};
  sockaddr_storage from{};
  Control control;
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const ssize_t count = ::recvmsg(fd, &message, 0);
  if (count < 0) return std::nullopt;
  datagram.bytes.resize(static_cast<std::size_t>(count));
  datagram.from = Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&from));
  datagram.to = destination_of(message);
  return datagram;
}

void send_answer(int fd, const Datagram& asked, std::string_view answer) {
  iovec part{const_cast<char*>(answer.data()), answer.size()};
  Control control{};
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(asked.from.data());
  message.msg_namelen = asked.from.size();
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  put_source(message, asked.to);
  ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace pillion::proxy::dns
