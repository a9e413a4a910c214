// Message formats: sock_diag(7), linux/inet_diag.h.
#include "netns/sockets.h"

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "netns/netlink_attributes.h"
#include "netns/netlink_socket.h"

namespace pillion::netns {
namespace {

Address address_of(std::uint8_t family, const __be32* words) {
  Address address{family == AF_INET ? Family::V4 : Family::V6, {}};
  std::memcpy(address.bytes.data(), words, address.size());
  return address;
}

TcpSocket read_socket(const nlmsghdr* message) {
  const auto* body = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(message));
  TcpSocket socket;
  socket.state = body->idiag_state;
  socket.local = address_of(body->idiag_family, body->id.idiag_src);
  socket.local_port = ntohs(body->id.idiag_sport);
  socket.remote = address_of(body->idiag_family, body->id.idiag_dst);
  socket.remote_port = ntohs(body->id.idiag_dport);
  socket.uid = body->idiag_uid;
  socket.inode = body->idiag_inode;
  socket.receive_queue = body->idiag_rqueue;
  socket.send_queue = body->idiag_wqueue;
  const Attributes<INET_DIAG_MAX + 1> attributes(message, sizeof(inet_diag_msg));
  if (const nlattr* options = attributes[INET_DIAG_SOCKOPT]) {
    const auto* bits = static_cast<const inet_diag_sockopt*>(mnl_attr_get_payload(options));
    socket.is_transparent = bits->transparent != 0;
  }
  return socket;
}

Result<void> dump(NetlinkSocket& netlink, std::uint8_t family, std::uint32_t states,
                  std::vector<TcpSocket>& sockets) {
  alignas(8) std::array<char, 512> buffer{};
  nlmsghdr* header = mnl_nlmsg_put_header(buffer.data());
  header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* request =
      static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
  request->sdiag_family = family;
  request->sdiag_protocol = IPPROTO_TCP;
  request->idiag_states = states;
  return netlink.ask(header,
                     [&](const nlmsghdr* message) { sockets.push_back(read_socket(message)); });
}

}  // namespace

Result<std::vector<TcpSocket>> tcp_sockets(std::uint32_t states) {
  auto netlink = NetlinkSocket::open(NETLINK_SOCK_DIAG, "sock_diag");
  if (!netlink) return fail(netlink.error());
  std::vector<TcpSocket> sockets;
  for (const auto family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    auto dumped = dump(*netlink, family, states, sockets);
    // A kernel without IPv6 has no handler for it.
    if (!dumped && !(family == AF_INET6 && dumped.error().errno_value() == ENOENT)) {
      return fail(dumped.error());
    }
  }
  return sockets;
}

}  // namespace pillion::netns
