// A connected (or connecting) TCP socket registered with a reactor, with the readiness that its
// edges left behind, and with TLS on top of it when start_tls() was called. Owns the descriptor;
// knows nothing of the protocols above.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "proxy/address.h"
#include "proxy/io_result.h"
#include "proxy/reactor.h"
#include "proxy/tls_stream.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::proxy {

struct Pipe;

struct SocketOptions {
  unsigned keepalive_seconds = 60;
  unsigned user_timeout_milliseconds = 30'000;
};

class Socket {
 public:
  Socket() = default;
  // Takes over a non-blocking descriptor and registers it for `watcher`.
  Socket(Reactor& reactor, Fd fd, Watcher& watcher);
  // The same, registered by the first attach().
  Socket(Reactor& reactor, Fd fd);
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { close(); }

  // Starts to connect, from `source` when given (its port is ignored). The first writable edge
  // tells the outcome: see connect_error().
  static Result<Socket> connect(Reactor& reactor, Watcher& watcher, const Address& to,
                                const Address* source, const SocketOptions& options);
  // The same on an unconnected TCP socket that was made elsewhere (see app_sockets.h).
  static Result<Socket> connect(Fd fd, Reactor& reactor, Watcher& watcher, const Address& to,
                                const Address* source, const SocketOptions& options);

  bool is_open() const { return fd_.is_open(); }
  int fd() const { return fd_.get(); }

  void note_events(std::uint32_t events);
  bool is_readable() const { return is_readable_ || (tls_ && tls_->may_have_bytes()); }
  bool is_writable() const { return is_writable_; }
  // The peer will send nothing more, or the connection is broken.
  bool is_hung_up() const { return is_hung_up_; }
  bool is_broken() const { return is_broken_; }  // EPOLLERR or EPOLLHUP was seen

  // Short reads and EAGAIN clear the readiness until the next edge.
  IoResult read(char* buffer, std::size_t size) {
    return tls_ ? tls_->read(*this, buffer, size) : read_transport(buffer, size);
  }
  // Writes as much as the kernel takes; WouldBlock with `bytes` > 0 is a part.
  IoResult write(const iovec* parts, std::size_t count) {
    return tls_ ? tls_->write(*this, parts, count) : write_transport(parts, count);
  }
  IoResult write(const char* bytes, std::size_t size) {
    return tls_ ? tls_->write(*this, bytes, size) : write_transport(bytes, size);
  }

  // TLS from the next byte on; handshake() must be Done before the first read or write.
  void start_tls(std::unique_ptr<TlsStream> tls) { tls_ = std::move(tls); }
  HandshakeStatus handshake() { return tls_->handshake(*this); }
  TlsStream* tls() { return tls_.get(); }
  const TlsStream* tls() const { return tls_.get(); }

  // Below TLS: the bytes of the connection itself.
  bool is_transport_readable() const { return is_readable_; }
  IoResult read_transport(char* buffer, std::size_t size);
  IoResult write_transport(const iovec* parts, std::size_t count);
  IoResult write_transport(const char* bytes, std::size_t size);

  // Moves bytes inside the kernel, without TLS: what is there into an empty pipe, and what the pipe
  // holds out. Ok when some were moved.
  IoStatus splice_to(Pipe& pipe);
  IoStatus splice_from(Pipe& pipe);

  // What will be read next, left where it is. Below TLS.
  IoResult peek(char* buffer, std::size_t size);
  // True when a pooled connection is at its end or holds bytes nobody asked for. Messages of TLS
  // itself (tickets) are taken in.
  bool is_stale();
  int connect_error() const;  // SO_ERROR
  bool has_peer() const;      // a connection that was begun is there
  // What the kernel holds: not read by us, not sent or not acknowledged (tcp(7), SIOCINQ,
  // SIOCOUTQ).
  std::size_t kernel_bytes() const;
  void shutdown_write();
  // Makes close() send RST, so that the peer sees a failure and not an end.
  void reset_on_close();
  void close();

  // The events go to `watcher` from now on.
  void attach(Watcher& watcher);
  // Asks for the current readiness again in the next batch, for fairness among sockets.
  void rearm(Watcher& watcher) { reactor_->hand_over(fd_.get(), watcher); }
  void note_readable() { is_readable_ = true; }

 private:
  Reactor* reactor_ = nullptr;
  Fd fd_;
  std::unique_ptr<TlsStream> tls_;
  bool is_registered_ = true;
  bool is_readable_ = false;
  bool is_writable_ = false;
  bool is_hung_up_ = false;
  bool is_broken_ = false;
  bool is_reset_on_close_ = false;
};

// TCP_NODELAY, keep-alive and TCP_USER_TIMEOUT for a descriptor that was accepted or made.
void set_tcp_options(int fd, const SocketOptions& options);

}  // namespace pillion::proxy
