// TLS over one socket: OpenSSL reads and writes the descriptor through a BIO of ours that keeps the
// socket's readiness, so that no system call is made which is known to fail. A server's connection
// of TLS 1.3 goes on without OpenSSL's state after its handshake (see tls_records.h). Owned by its
// Socket; knows nothing of certificates (see tls_context.h) nor of HTTP.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/io_result.h"
#include "proxy/tls_records.h"

struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;

namespace pillion::proxy {

class Socket;

enum class HandshakeStatus : std::uint8_t { Done, WouldBlock, Failed };

class TlsStream {
 public:
  enum class Role : std::uint8_t { Server, Client };

  // Before a context's first stream: servers of it can slim_down().
  static void note_secrets(ssl_ctx_st* context);

  // Holds a reference to the context. Out of memory aborts.
  TlsStream(ssl_ctx_st* context, Role role);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  ssl_st* handle() { return ssl_; }  // null after slim_down()
  // An established stream of TLS 1.3 whose traffic secrets were noted goes on with records of its
  // own, and OpenSSL's state is freed: nothing can be asked of the handshake after this.
  void slim_down();

  // Call again on each event of the socket until it is not WouldBlock.
  HandshakeStatus handshake(Socket& socket);
  bool is_established() const { return is_established_; }
  // Why the handshake or a later read or write failed: one sentence fragment, never empty then.
  const std::string& failure() const { return failure_; }

  // As Socket's. Fills the buffer from as many records as have come.
  IoResult read(Socket& socket, char* buffer, std::size_t size);
  // After WouldBlock the bytes that were not taken must be offered again, at the front of the next
  // write (OpenSSL may hold a record that was made of them).
  IoResult write(Socket& socket, const char* bytes, std::size_t size);
  IoResult write(Socket& socket, const iovec* parts, std::size_t count);
  // Tells the peer that nothing more comes (close_notify); best effort.
  void shutdown(Socket& socket);

  // Plain text may be there that no edge of the socket will announce.
  bool may_have_bytes() const { return may_have_bytes_; }
  // The peer ended the transport without close_notify: what came may be a part.
  bool is_truncated() const { return is_truncated_; }

  std::string_view version() const;          // "TLSv1.3"
  std::string_view negotiated_alpn() const;  // "" when there is none
  bool is_resumed() const;

 private:
  friend struct TlsBio;
  friend struct TlsNotes;

  // Of a handshake as a server.
  struct Handshake {
    TlsSecret read;
    TlsSecret write;
    std::uint64_t records_written = 0;  // with the application's key
  };
  // After slim_down(): what is not a whole record yet, and how reading ended.
  struct Slim {
    std::unique_ptr<TlsRecords> records;
    std::string plain;             // opened, and more than the reader had room for
    std::string unsent;            // rest of a record
    std::size_t unsent_plain = 0;  // what the writer will offer again for it
    bool is_closed = false;
    bool has_ended = false;  // without close_notify
    int end_error = 0;       // errno, with has_ended
  };

  int take_received(char* buffer, std::size_t size);
  IoResult receive(char* buffer, std::size_t size);
  IoResult read_slim(Socket& socket, char* buffer, std::size_t size);
  std::size_t open_records(Socket& socket, char* bytes, std::size_t count, char* buffer,
                           std::size_t size);
  bool has_more_slim() const;
  IoResult end_of_slim();
  IoResult write_slim(Socket& socket, const iovec* parts, std::size_t count);
  IoResult send_unsent(Socket& socket);
  IoResult failed(int error);
  IoResult outcome(int returned, std::size_t bytes);
  void keep_failure(int ssl_error);

  ssl_st* ssl_;
  std::unique_ptr<Handshake> handshake_;
  std::unique_ptr<Slim> slim_;
  std::string received_;      // ciphertext that came with what was read and is not used yet
  Socket* socket_ = nullptr;  // set for the time of a call
  int socket_error_ = 0;
  bool is_established_ = false;
  bool may_have_bytes_ = false;
  bool is_truncated_ = false;
  std::string failure_;
};

}  // namespace pillion::proxy
