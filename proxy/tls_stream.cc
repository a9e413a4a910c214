#include "proxy/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/socket.h"
#include "runtime/http1/syntax.h"
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
    const auto wanted = static_cast<std::size_t>(size);
    if (!stream.received_.empty()) return stream.take_received(buffer, wanted);
    if (!socket.is_transport_readable()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const bool is_buffered = stream.handshake_ && !stream.is_established_;
    const IoResult result =
        is_buffered ? stream.receive(buffer, wanted) : socket.read_transport(buffer, wanted);
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

// What a handshake as a server tells on its way.
struct TlsNotes {
  // "SERVER_TRAFFIC_SECRET_0 <client random> <secret>" and others, as in NSS key logs.
  static void on_secret(const SSL* ssl, const char* text) {
    auto& stream = *static_cast<TlsStream*>(BIO_get_data(SSL_get_rbio(ssl)));
    const std::string_view line(text);
    if (!stream.handshake_) return;
    const bool is_write = line.starts_with("SERVER_TRAFFIC_SECRET_0 ");
    if (!is_write && !line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) return;
    const std::string_view digits = line.substr(line.rfind(' ') + 1);
    TlsSecret& secret = is_write ? stream.handshake_->write : stream.handshake_->read;
    if (digits.size() / 2 > secret.bytes.size()) return;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
      secret.bytes[i / 2] = static_cast<std::uint8_t>(http1::hex_digit(digits[i]) << 4 |
                                                      http1::hex_digit(digits[i + 1]));
    }
    secret.size = digits.size() / 2;
  }

  // Counts the records behind the change of keys: session tickets.
  static void on_message(int is_write, int, int content_type, const void*, std::size_t, SSL*,
                         void* data) {
    auto& stream = *static_cast<TlsStream*>(data);
    if (is_write != 1 || content_type != SSL3_RT_HEADER || !stream.handshake_) return;
    if (stream.handshake_->write.size > 0) ++stream.handshake_->records_written;
  }
};

void TlsStream::note_secrets(ssl_ctx_st* context) {
  SSL_CTX_set_keylog_callback(context, &TlsNotes::on_secret);
}

TlsStream::TlsStream(ssl_ctx_st* context, Role role) : ssl_(SSL_new(context)) {
  PILLION_ASSERT(ssl_ != nullptr);
  BIO* bio = BIO_new(TlsBio::method());
  PILLION_ASSERT(bio != nullptr);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  if (role == Role::Server) {
    SSL_set_accept_state(ssl_);
    SSL_set_read_ahead(ssl_, 0);  // see receive()
    SSL_set_msg_callback(ssl_, &TlsNotes::on_message);
    SSL_set_msg_callback_arg(ssl_, this);
    handshake_ = std::make_unique<Handshake>();
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

int TlsStream::take_received(char* buffer, std::size_t size) {
  const std::size_t taken = std::min(size, received_.size());
  std::memcpy(buffer, received_.data(), taken);
  received_.erase(0, taken);
  return static_cast<int>(taken);
}

// OpenSSL asks for as much as it needs, and so never holds records behind the handshake; what else
// has come is kept here, so that this takes no more system calls.
IoResult TlsStream::receive(char* buffer, std::size_t size) {
  char space[16 * 1024];
  const IoResult result = socket_->read_transport(space, sizeof space);
  if (result.status != IoStatus::Ok) return result;
  const std::size_t taken = std::min(size, result.bytes);
  std::memcpy(buffer, space, taken);
  received_.assign(space + taken, result.bytes - taken);
  return {IoStatus::Ok, taken, 0};
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
  if (slim_) return read_slim(socket, buffer, size);
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
  if (slim_) {
    const iovec part{const_cast<char*>(bytes), size};
    return write_slim(socket, &part, 1);
  }
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
  if (slim_) return write_slim(socket, parts, count);
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
  if (slim_) {
    char record[TlsRecords::kOverheadBytes + 2];
    if (!slim_->unsent.empty()) return;  // in the midst of another record
    socket.write_transport(record, slim_->records->seal_close(record));
    return;
  }
  socket_ = &socket;
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

std::string_view TlsStream::version() const { return slim_ ? "TLSv1.3" : SSL_get_version(ssl_); }

std::string_view TlsStream::negotiated_alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  PILLION_ASSERT(ssl_ != nullptr);
  SSL_get0_alpn_selected(ssl_, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

bool TlsStream::is_resumed() const {
  PILLION_ASSERT(ssl_ != nullptr);
  return SSL_session_reused(ssl_) == 1;
}

}  // namespace pillion::proxy
