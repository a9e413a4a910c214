#include "supervisor/keeper/channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pillion::keeper {

int send_message(int socket, const Message& message, int fd) {
  iovec part{const_cast<Message*>(&message), sizeof message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fd >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

int receive_message(int socket, Message* message, int* fd) {
  *fd = -1;
  iovec part{message, sizeof *message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t count = 0;
  do {
    count = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return errno;
  for (cmsghdr* part_of = CMSG_FIRSTHDR(&header); part_of;
       part_of = CMSG_NXTHDR(&header, part_of)) {
    if (part_of->cmsg_level == SOL_SOCKET && part_of->cmsg_type == SCM_RIGHTS) {
      std::memcpy(fd, CMSG_DATA(part_of), sizeof *fd);
    }
  }
  if (count == 0) return ECONNRESET;
  // A newer peer's message is longer and was cut by the kernel to what we know.
  if (count != sizeof *message || message->magic != kProtocolMagic) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
    return EBADMSG;
  }
  message->name[kNameSize - 1] = '\0';
  message->cgroup[kCgroupSize - 1] = '\0';
  return 0;
}

}  // namespace pillion::keeper
