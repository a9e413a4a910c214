#include "runtime/socket_broker.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace pillion {
namespace {

constexpr std::uint32_t kMagic = 0x504b4231;  // "PKB1"

struct Message {
  std::uint32_t magic = kMagic;
  std::int32_t family = 0;
  std::int32_t count = 0;
  std::int32_t error = 0;
};

bool is_valid(const Message& message, ssize_t size) {
  return size == static_cast<ssize_t>(sizeof message) && message.magic == kMagic &&
         (message.family == AF_INET || message.family == AF_INET6) && message.count >= 0 &&
         message.count <= kSocketsPerBatch;
}

union ControlBuffer {
  cmsghdr align;
  char bytes[CMSG_SPACE(sizeof(int) * kSocketsPerBatch)];
};

// Every descriptor that came is owned, also those of a message that is not valid.
std::vector<Fd> take_descriptors(msghdr& header) {
  std::vector<Fd> fds;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

SocketBatch make_batch(const Message& request) {
  SocketBatch batch;
  batch.family = request.family;
  for (int i = 0; i < request.count; ++i) {
    Fd fd(::socket(request.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!fd) {
      if (batch.sockets.empty()) batch.error = errno;
      break;
    }
    batch.sockets.push_back(std::move(fd));
  }
  return batch;
}

Result<void> send_batch(int channel, const SocketBatch& batch) {
  Message answer;
  answer.family = batch.family;
  answer.error = batch.error;
  answer.count = static_cast<std::int32_t>(batch.sockets.size());
  iovec text{&answer, sizeof answer};
  ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &text;
  header.msg_iovlen = 1;
  if (!batch.sockets.empty()) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * batch.sockets.size());
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int) * batch.sockets.size());
    for (std::size_t i = 0; i < batch.sockets.size(); ++i) {
      const int fd = batch.sockets[i].get();
      std::memcpy(CMSG_DATA(part) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  while (::sendmsg(channel, &header, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return fail_errno("cannot hand out sockets");
  }
  return {};
}

}  // namespace

bool ask_for_sockets(int channel, int family) {
  Message request;
  request.family = family;
  request.count = kSocketsPerBatch;
  return ::send(channel, &request, sizeof request, MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(sizeof request);
}

bool has_unread_request(int channel) {
  int bytes = 0;
  return ::ioctl(channel, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

std::optional<SocketBatch> receive_sockets(int channel) {
  for (;;) {
    Message answer;
    iovec text{&answer, sizeof answer};
    ControlBuffer control{};
    msghdr header{};
    header.msg_iov = &text;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof control.bytes;
    const ssize_t size = ::recvmsg(channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return std::nullopt;
    SocketBatch batch{answer.family, answer.error, take_descriptors(header)};
    if (is_valid(answer, size)) return batch;
  }
}

Result<void> serve_sockets(int channel) {
  for (;;) {
    Message request;
    const ssize_t size = ::recv(channel, &request, sizeof request, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail_errno("cannot read a request for sockets");
    if (size == 0) return {};
    if (!is_valid(request, size)) continue;
    if (auto sent = send_batch(channel, make_batch(request)); !sent) return sent;
  }
}

Result<BrokerChannel> make_broker_channel() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) < 0) {
    return fail_errno("cannot make the socket broker's channel");
  }
  return BrokerChannel{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace pillion
