#include "proxy/socket.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <climits>
#include <utility>

#include "proxy/pipe_pool.h"

namespace pillion::proxy {
namespace {

constexpr std::size_t kPartsMax = 1024;  // IOV_MAX on Linux
// Bytes that the kernel takes ahead of what it can send (tcp(7), TCP_NOTSENT_LOWAT). Without it, a
// peer that reads slowly makes it hold the whole send buffer, which grows to megabytes.
constexpr int kUnsentMax = 256 * 1024;

}  // namespace

Socket::Socket(Reactor& reactor, Fd fd, Watcher& watcher)
    : reactor_(&reactor), fd_(std::move(fd)), is_readable_(true), is_writable_(true) {
  reactor.add(fd_.get(), watcher);
}

Socket::Socket(Reactor& reactor, Fd fd)
    : reactor_(&reactor),
      fd_(std::move(fd)),
      is_registered_(false),
      is_readable_(true),
      is_writable_(true) {}

Socket::Socket(Socket&& other) noexcept
    : reactor_(other.reactor_),
      fd_(std::move(other.fd_)),
      tls_(std::move(other.tls_)),
      is_registered_(other.is_registered_),
      is_readable_(other.is_readable_),
      is_writable_(other.is_writable_),
      is_hung_up_(other.is_hung_up_),
      is_broken_(other.is_broken_),
      is_reset_on_close_(other.is_reset_on_close_) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this == &other) return *this;
  close();
  reactor_ = other.reactor_;
  fd_ = std::move(other.fd_);
  tls_ = std::move(other.tls_);
  is_registered_ = other.is_registered_;
  is_readable_ = other.is_readable_;
  is_writable_ = other.is_writable_;
  is_hung_up_ = other.is_hung_up_;
  is_broken_ = other.is_broken_;
  is_reset_on_close_ = other.is_reset_on_close_;
  return *this;
}

Result<Socket> Socket::connect(Reactor& reactor, Watcher& watcher, const Address& to,
                               const Address* source, const SocketOptions& options) {
  Fd fd(::socket(to.data()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return fail_errno("cannot make a socket");
  return connect(std::move(fd), reactor, watcher, to, source, options);
}

Result<Socket> Socket::connect(Fd fd, Reactor& reactor, Watcher& watcher, const Address& to,
                               const Address* source, const SocketOptions& options) {
  set_tcp_options(fd.get(), options);
  if (source != nullptr) {
    // The kernel chooses the port at connect(), so that one source can reach many destinations.
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    const Address from = source->with_port(0);
    if (bind(fd.get(), from.data(), from.size()) != 0) {
      return fail_errno("cannot use the source address " + from.to_string());
    }
  }
  if (::connect(fd.get(), to.data(), to.size()) != 0 && errno != EINPROGRESS) {
    return fail_errno("cannot connect to " + to.to_string());
  }
  Socket socket(reactor, std::move(fd), watcher);
  socket.is_readable_ = false;
  socket.is_writable_ = false;
  return socket;
}

void Socket::note_events(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) is_readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) is_writable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) is_hung_up_ = true;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) is_broken_ = true;
}

IoResult Socket::read_transport(char* buffer, std::size_t size) {
  while (true) {
    const ssize_t count = recv(fd_.get(), buffer, size, 0);
    if (count > 0) {
      reactor_->note_received(static_cast<std::size_t>(count));
      // A short read emptied the queue (epoll(7)); an end that was announced is still to be read.
      if (static_cast<std::size_t>(count) < size && !is_hung_up_) is_readable_ = false;
      return {IoStatus::Ok, static_cast<std::size_t>(count), 0};
    }
    if (count == 0) {
      is_readable_ = false;
      is_hung_up_ = true;
      return {IoStatus::Eof, 0, 0};
    }
    if (errno == EINTR) continue;
    is_readable_ = false;
    if (errno == EAGAIN) return {IoStatus::WouldBlock, 0, 0};
    is_broken_ = true;
    return {IoStatus::Failed, 0, errno};
  }
}

IoStatus Socket::splice_to(Pipe& pipe) {
  while (true) {
    const ssize_t count = splice(fd_.get(), nullptr, pipe.writer.get(), nullptr,
                                 PipePool::kPipeBytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count > 0) {
      pipe.held = static_cast<std::size_t>(count);
      reactor_->note_received(pipe.held);
      return IoStatus::Ok;
    }
    if (count < 0 && errno == EINTR) continue;
    is_readable_ = false;
    if (count == 0) {
      is_hung_up_ = true;
      return IoStatus::Eof;
    }
    if (errno == EAGAIN) return IoStatus::WouldBlock;
    is_broken_ = true;
    return IoStatus::Failed;
  }
}

IoStatus Socket::splice_from(Pipe& pipe) {
  while (is_writable_) {
    const ssize_t count = splice(pipe.reader.get(), nullptr, fd_.get(), nullptr, pipe.held,
                                 SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count > 0) {
      pipe.held -= static_cast<std::size_t>(count);
      return IoStatus::Ok;
    }
    if (errno == EINTR) continue;
    is_writable_ = false;
    if (errno == EAGAIN) return IoStatus::WouldBlock;
    is_broken_ = true;
    return IoStatus::Failed;
  }
  return IoStatus::WouldBlock;
}

IoResult Socket::write_transport(const iovec* parts, std::size_t count) {
  if (count == 1) return write_transport(static_cast<const char*>(parts->iov_base), parts->iov_len);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count < kPartsMax ? count : kPartsMax;
  std::size_t wanted = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) wanted += parts[i].iov_len;
  while (true) {
    const ssize_t sent = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (sent >= 0) {
      const auto bytes = static_cast<std::size_t>(sent);
      if (bytes == wanted) return {IoStatus::Ok, bytes, 0};
      is_writable_ = false;
      return {IoStatus::WouldBlock, bytes, 0};
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      is_writable_ = false;
      return {IoStatus::WouldBlock, 0, 0};
    }
    is_broken_ = true;
    return {IoStatus::Failed, 0, errno};
  }
}

IoResult Socket::write_transport(const char* bytes, std::size_t size) {
  while (true) {
    const ssize_t sent = send(fd_.get(), bytes, size, MSG_NOSIGNAL);
    if (sent >= 0) {
      if (static_cast<std::size_t>(sent) == size) return {IoStatus::Ok, size, 0};
      is_writable_ = false;
      return {IoStatus::WouldBlock, static_cast<std::size_t>(sent), 0};
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      is_writable_ = false;
      return {IoStatus::WouldBlock, 0, 0};
    }
    is_broken_ = true;
    return {IoStatus::Failed, 0, errno};
  }
}

void Socket::attach(Watcher& watcher) {
  if (is_registered_) {
    reactor_->hand_over(fd_.get(), watcher);
  } else {
    reactor_->add(fd_.get(), watcher);
    is_registered_ = true;
  }
}

IoResult Socket::peek(char* buffer, std::size_t size) {
  const ssize_t count = recv(fd_.get(), buffer, size, MSG_PEEK | MSG_DONTWAIT);
  if (count > 0) return {IoStatus::Ok, static_cast<std::size_t>(count), 0};
  if (count == 0) return {IoStatus::Eof, 0, 0};
  if (errno == EAGAIN || errno == EINTR) return {IoStatus::WouldBlock, 0, 0};
  return {IoStatus::Failed, 0, errno};
}

bool Socket::is_stale() {
  if (is_hung_up_ || is_broken_) return true;
  char byte;
  if (tls_) {
    is_readable_ = true;
    return tls_->read(*this, &byte, 1).status != IoStatus::WouldBlock;
  }
  const ssize_t count = recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count >= 0 || (errno != EAGAIN && errno != EINTR);
}

int Socket::connect_error() const {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

bool Socket::has_peer() const {
  sockaddr_storage storage;
  socklen_t size = sizeof storage;
  return getpeername(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &size) == 0;
}

void Socket::shutdown_write() {
  if (tls_) tls_->shutdown(*this);
  ::shutdown(fd_.get(), SHUT_WR);
}

void Socket::reset_on_close() {
  const linger option{1, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &option, sizeof option);
  is_reset_on_close_ = true;
}

std::size_t Socket::kernel_bytes() const {
  int unsent = 0;
  int unread = 0;
  if (!fd_.is_open()) return 0;
  if (ioctl(fd_.get(), SIOCOUTQ, &unsent) != 0) unsent = 0;
  if (ioctl(fd_.get(), SIOCINQ, &unread) != 0) unread = 0;
  return static_cast<std::size_t>(unsent) + static_cast<std::size_t>(unread);
}

void Socket::close() {
  if (!fd_.is_open()) return;
  if (tls_) {
    if (!is_broken_ && !is_reset_on_close_) tls_->shutdown(*this);
    tls_.reset();
  }
  fd_.reset();
}

void set_tcp_options(int fd, const SocketOptions& options) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentMax, sizeof kUnsentMax);
  if (options.keepalive_seconds > 0) {
    const int seconds = static_cast<int>(options.keepalive_seconds);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  }
  if (options.user_timeout_milliseconds > 0) {
    const unsigned timeout = options.user_timeout_milliseconds;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
  }
}

}  // namespace pillion::proxy
