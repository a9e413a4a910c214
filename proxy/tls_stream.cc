#include "proxy/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/socket.h"
#include "runtime/result.h"

namespace pillion::proxy {
namespace {

constexpr std::size_t kRecordBytesMax = 16 * 1024;  // RFC 8446 §5.1

}  // namespace

// OpenSSL's view of the socket.
struct TlsBio {
  static int read(BIO* bio, char* buffer, int size) {
    auto& stream = *static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    Socket& socket = *stream.socket_;
    if (!socket.is_transport_readable()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const IoResult result = socket.read_transport(buffer, static_cast<std::size_t>(size));
    if (result.status == IoStatus::Ok) return static_cast<int>(result.bytes);
    if (result.status == IoStatus::WouldBlock) {
      BIO_set_retry_read(bio);
      return -1;
    }
    stream.socket_error_ = result.error;
    stream.is_truncated_ = true;
    return result.status == IoStatus::Eof ? 0 : -1;
  }

  static int write(BIO* bio, const char* bytes, int size) {
    auto& stream = *static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const IoResult result = stream.socket_->write_transport(bytes, static_cast<std::size_t>(size));
    if (result.bytes > 0) return static_cast<int>(result.bytes);
    if (result.status == IoStatus::WouldBlock) {
      BIO_set_retry_write(bio);
    } else {
      stream.socket_error_ = result.error;
    }
    return -1;
  }

  static long control(BIO*, int command, long, void*) {
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
  }

  static BIO_METHOD* method() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
      PILLION_ASSERT(made != nullptr);
      BIO_meth_set_read(made, &TlsBio::read);
      BIO_meth_set_write(made, &TlsBio::write);
      BIO_meth_set_ctrl(made, &TlsBio::control);
      return made;
    }();
    return method;
  }
};

TlsStream::TlsStream(ssl_ctx_st* context, Role role) : ssl_(SSL_new(context)) {
  PILLION_ASSERT(ssl_ != nullptr);
  BIO* bio = BIO_new(TlsBio::method());
  PILLION_ASSERT(bio != nullptr);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  if (role == Role::Server) {
    SSL_set_accept_state(ssl_);
  } else {
    SSL_set_connect_state(ssl_);
  }
}

TlsStream::~TlsStream() { SSL_free(ssl_); }

// The first error of OpenSSL's queue says most; a failed verification says more than that.
void TlsStream::keep_failure(int ssl_error) {
  const long verify = SSL_get_verify_result(ssl_);
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  if (socket_error_ != 0) {
    failure_ = std::strerror(socket_error_);
  } else if (verify != X509_V_OK && verify != X509_V_ERR_APPLICATION_VERIFICATION &&
             reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    failure_ = X509_verify_cert_error_string(verify);
  } else if (code != 0) {
    const char* text = ERR_reason_error_string(code);
    failure_ = text != nullptr ? text : "unknown error";
  } else {
    failure_ = ssl_error == SSL_ERROR_SYSCALL ? "the peer closed the connection"
                                              : "the peer ended the session";
  }
  ERR_clear_error();
}

HandshakeStatus TlsStream::handshake(Socket& socket) {
  if (is_established_) return HandshakeStatus::Done;
  socket_ = &socket;
  ERR_clear_error();
  const int returned = SSL_do_handshake(ssl_);
  if (returned == 1) {
    is_established_ = true;
    may_have_bytes_ = true;
    return HandshakeStatus::Done;
  }
  const int error = SSL_get_error(ssl_, returned);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
    return HandshakeStatus::WouldBlock;
  }
  keep_failure(error);
  return HandshakeStatus::Failed;
}

IoResult TlsStream::failed(int error) {
  may_have_bytes_ = false;
  return {IoStatus::Failed, 0, error};
}

IoResult TlsStream::outcome(int returned, std::size_t bytes) {
  const int error = SSL_get_error(ssl_, returned);
  switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return {IoStatus::WouldBlock, bytes, 0};
    case SSL_ERROR_ZERO_RETURN:
      may_have_bytes_ = false;
      is_truncated_ = false;
      return {IoStatus::Eof, 0, 0};
    default: break;
  }
  const bool is_transport_end = is_truncated_ && socket_error_ == 0;
  keep_failure(error);
  if (is_transport_end) {
    may_have_bytes_ = false;
    return {IoStatus::Eof, 0, 0};
  }
  return failed(socket_error_ != 0 ? socket_error_ : EPROTO);
}

IoResult TlsStream::read(Socket& socket, char* buffer, std::size_t size) {
  socket_ = &socket;
  std::size_t filled = 0;
  ERR_clear_error();
  while (filled < size) {
    std::size_t count = 0;
    const int returned = SSL_read_ex(ssl_, buffer + filled, size - filled, &count);
    if (returned == 1) {
      filled += count;
      may_have_bytes_ = true;
      continue;
    }
    if (filled == 0) {
      const IoResult result = outcome(returned, 0);
      if (result.status == IoStatus::WouldBlock) may_have_bytes_ = false;
      return result;
    }
    // What ended the stream shows again at the next call.
    const int error = SSL_get_error(ssl_, returned);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) may_have_bytes_ = false;
    break;
  }
  return {IoStatus::Ok, filled, 0};
}

IoResult TlsStream::write(Socket& socket, const char* bytes, std::size_t size) {
  socket_ = &socket;
  std::size_t sent = 0;
  ERR_clear_error();
  while (sent < size) {
    std::size_t count = 0;
    const int returned = SSL_write_ex(ssl_, bytes + sent, size - sent, &count);
    if (returned != 1) {
      const IoResult result = outcome(returned, sent);
      return result.status == IoStatus::Eof ? failed(EPIPE) : result;
    }
    sent += count;
  }
  return {IoStatus::Ok, sent, 0};
}

// Small parts share a record: each record costs a header, a tag and a system call.
IoResult TlsStream::write(Socket& socket, const iovec* parts, std::size_t count) {
  char record[kRecordBytesMax];
  std::size_t sent = 0;
  std::size_t part = 0;
  std::size_t offset = 0;
  while (part < count) {
    const char* bytes = static_cast<const char*>(parts[part].iov_base) + offset;
    std::size_t size = parts[part].iov_len - offset;
    if (part + 1 == count || size >= kRecordBytesMax) {
      ++part;
      offset = 0;
    } else {
      size = 0;
      while (part < count && size < kRecordBytesMax) {
        const std::size_t taken = std::min(parts[part].iov_len - offset, kRecordBytesMax - size);
        std::memcpy(record + size, static_cast<const char*>(parts[part].iov_base) + offset, taken);
        size += taken;
        offset += taken;
        if (offset == parts[part].iov_len) {
          ++part;
          offset = 0;
        }
      }
      bytes = record;
    }
    if (size == 0) continue;
    const IoResult result = write(socket, bytes, size);
    sent += result.bytes;
    if (result.status != IoStatus::Ok) return {result.status, sent, result.error};
  }
  return {IoStatus::Ok, sent, 0};
}

void TlsStream::shutdown(Socket& socket) {
  if (!is_established_ || !failure_.empty()) return;
  socket_ = &socket;
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

std::string_view TlsStream::version() const { return SSL_get_version(ssl_); }

std::string_view TlsStream::negotiated_alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

bool TlsStream::is_resumed() const { return SSL_session_reused(ssl_) == 1; }

}  // namespace pillion::proxy
