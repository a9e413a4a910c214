#include "proxy/udp/batch.h"

#include <sys/uio.h>

#include <cerrno>

namespace pillion::proxy::udp {

Batch::Batch() : bytes_(new char[kMessages * kBytesMax]) {}

int Batch::receive(int fd, bool has_peers) {
  for (std::size_t i = 0; i < kMessages; ++i) {
    parts_[i] = {bytes_.get() + i * kBytesMax, kBytesMax};
    msghdr& head = messages_[i].msg_hdr;
    head = {};
    head.msg_iov = &parts_[i];
    head.msg_iovlen = 1;
    if (has_peers) peers_[i].prepare_for(head);
  }
  const int count = ::recvmmsg(fd, messages_.data(), kMessages, MSG_DONTWAIT, nullptr);
  if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
  for (std::size_t i = 0; has_peers && i < static_cast<std::size_t>(count); ++i) {
    peers_[i].take_from(messages_[i].msg_hdr);
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
    if (to != nullptr) to->put_into(head);
  }
  error = 0;
  const int sent =
      ::sendmmsg(fd, out.data(), static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) error = errno;
  return sent < 0 ? 0 : static_cast<std::size_t>(sent);
}

}  // namespace pillion::proxy::udp
