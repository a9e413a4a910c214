#include "proxy/dns/datagram.h"

#include <sys/uio.h>

namespace pillion::proxy::dns {
namespace {

constexpr std::size_t kQueryMax = 4096;  // longer ones are cut, and so malformed

}  // namespace

std::optional<Datagram> receive_datagram(int fd) {
  Datagram datagram;
  datagram.bytes.resize(kQueryMax);
  iovec part{datagram.bytes.data(), datagram.bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  datagram.from.prepare_for(message);
  const ssize_t count = ::recvmsg(fd, &message, 0);
  if (count < 0) return std::nullopt;
  datagram.bytes.resize(static_cast<std::size_t>(count));
  datagram.from.take_from(message);
  return datagram;
}

void send_answer(int fd, const Datagram& asked, std::string_view answer) {
  iovec part{const_cast<char*>(answer.data()), answer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  asked.from.put_into(message);
  ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace pillion::proxy::dns
