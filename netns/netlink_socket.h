// A netlink socket that asks the kernel and reads its whole answer. For what tells no more than an
// errno; rtnetlink, with the kernel's own sentences, is in rtnetlink.h.
#pragma once

#include <libmnl/libmnl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "runtime/result.h"

namespace pillion::netns {

class NetlinkSocket {
 public:
  // `protocol` is NETLINK_NETFILTER and the like, `name` what errors call it. Fails with the errno
  // of a kernel that does not have it.
  static Result<NetlinkSocket> open(int protocol, std::string name);

  // Sends the request, whose sequence number it sets, and calls `visit` for every message of the
  // answer before it returns. Errors carry the kernel's errno.
  Result<void> ask(nlmsghdr* request, const std::function<void(const nlmsghdr*)>& visit);
  // The answer is only that it is done.
  Result<void> ask(nlmsghdr* request) {
    return ask(request, [](const nlmsghdr*) {});
  }

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  NetlinkSocket(mnl_socket* socket, std::string name) : socket_(socket), name_(std::move(name)) {}

  std::unique_ptr<mnl_socket, Closer> socket_;
  std::string name_;
  std::uint32_t sequence_ = 0;
};

// The beginning of a request to a subsystem of netfilter (NFNL_SUBSYS_…), in `buffer`.
nlmsghdr* put_netfilter_request(char* buffer, int subsystem, int type, int flags,
                                std::uint8_t family);

}  // namespace pillion::netns
