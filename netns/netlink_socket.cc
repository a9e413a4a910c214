#include "netns/netlink_socket.h"

#include <netinet/in.h>  // before the kernel's headers, which then leave its names alone

#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

namespace pillion::netns {

Result<NetlinkSocket> NetlinkSocket::open(int protocol, std::string name) {
  NetlinkSocket socket(mnl_socket_open2(protocol, SOCK_CLOEXEC), std::move(name));
  if (!socket.socket_ || mnl_socket_bind(socket.socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno("cannot open a socket to " + socket.name_);
  }
  return socket;
}

Result<void> NetlinkSocket::ask(nlmsghdr* request,
                                const std::function<void(const nlmsghdr*)>& visit) {
  request->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), request, request->nlmsg_len) < 0) {
    return fail_errno("cannot send to " + name_);
  }
  const auto on_message = [](const nlmsghdr* message, void* data) {
    (*static_cast<const std::function<void(const nlmsghdr*)>*>(data))(message);
    return MNL_CB_OK;
  };
  std::vector<char> answer(65536);
  for (int state = MNL_CB_OK; state > MNL_CB_STOP;) {
    const ssize_t received = mnl_socket_recvfrom(socket_.get(), answer.data(), answer.size());
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return fail_errno("cannot receive from " + name_);
    state = mnl_cb_run(answer.data(), static_cast<std::size_t>(received), sequence_, 0, on_message,
                       const_cast<void*>(static_cast<const void*>(&visit)));
    if (state < 0) return fail_errno("cannot ask " + name_);
  }
  return {};
}

nlmsghdr* put_netfilter_request(char* buffer, int subsystem, int type, int flags,
                                std::uint8_t family) {
  nlmsghdr* header = mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = static_cast<std::uint16_t>(subsystem << 8 | type);
  header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
  extra->nfgen_family = family;
  extra->version = NFNETLINK_V0;
  return header;
}

}  // namespace pillion::netns
