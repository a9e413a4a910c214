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
#include <memory>

#include "netns/netlink_attributes.h"

namespace pillion::netns {
namespace {

struct SocketCloser {
  void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, SocketCloser>;

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

Result<void> dump(mnl_socket* netlink, std::uint8_t family, std::uint32_t states,
                  std::vector<TcpSocket>& sockets) {
  alignas(8) std::array<char, 512> buffer{};
  nlmsghdr* header = mnl_nlmsg_put_header(buffer.data());
  header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header->nlmsg_seq = family;
  auto* request =
      static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
  request->sdiag_family = family;
  request->sdiag_protocol = IPPROTO_TCP;
  request->idiag_states = states;
  if (mnl_socket_sendto(netlink, header, header->nlmsg_len) < 0) {
    return fail_errno("cannot send to sock_diag");
  }
  std::vector<char> answer(65536);
  for (int state = MNL_CB_OK; state > MNL_CB_STOP;) {
    const ssize_t received = mnl_socket_recvfrom(netlink, answer.data(), answer.size());
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return fail_errno("cannot receive from sock_diag");
    state = mnl_cb_run(
        answer.data(), static_cast<std::size_t>(received), family, 0,
        [](const nlmsghdr* message, void* data) {
          static_cast<std::vector<TcpSocket>*>(data)->push_back(read_socket(message));
          return MNL_CB_OK;
        },
        &sockets);
    if (state < 0) return fail_errno("cannot list TCP sockets");
  }
  return {};
}

}  // namespace

Result<std::vector<TcpSocket>> tcp_sockets(std::uint32_t states) {
  const Socket netlink(mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC));
  if (!netlink || mnl_socket_bind(netlink.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno("cannot open a sock_diag socket");
  }
  std::vector<TcpSocket> sockets;
  for (const auto family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    auto dumped = dump(netlink.get(), family, states, sockets);
    // A kernel without IPv6 has no handler for it.
    if (!dumped && !(family == AF_INET6 && dumped.error().errno_value() == ENOENT)) {
      return fail(dumped.error());
    }
  }
  return sockets;
}

}  // namespace pillion::netns
