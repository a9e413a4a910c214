#include "adapters/metrics/poll/stream_client.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

namespace pillion::metrics {
namespace {

constexpr std::size_t kReadBytes = 16u << 10;

std::string tls_error() {
  const unsigned long code = ERR_get_error();
  if (code == 0) return "the connection ended";
  const char* const reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

Result<void> connect_socket(int socket, const sockaddr* address, socklen_t size,
                            const Deadline& deadline) {
  if (::connect(socket, address, size) == 0) return {};
  // EAGAIN: the listener of a Unix socket has no room; waiting would not tell when it has.
  if (errno != EINPROGRESS) return fail_errno("cannot connect");
  if (auto ready = wait_for(socket, POLLOUT, deadline); !ready) return ready;
  int error = 0;
  socklen_t length = sizeof error;
  ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) return fail(Error::from_errno("cannot connect", error));
  return {};
}

}  // namespace

struct StreamClient::Tls {
  SSL_CTX* context = nullptr;
  SSL* session = nullptr;
  ~Tls() {
    SSL_free(session);
    SSL_CTX_free(context);
  }
};

StreamClient::StreamClient(Fd socket, std::string place)
    : socket_(std::move(socket)), place_(std::move(place)) {}
StreamClient::StreamClient(StreamClient&&) noexcept = default;
StreamClient& StreamClient::operator=(StreamClient&&) noexcept = default;
StreamClient::~StreamClient() = default;

Result<StreamClient> StreamClient::connect_tcp(const std::string& host, std::uint16_t port,
                                               const Deadline& deadline) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string service = std::to_string(port);
  if (const int error = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &found)) {
    return fail("cannot find " + host + ": " + ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, ::freeaddrinfo);
  Error last("there is no address");
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    Fd socket(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.is_open()) continue;
    auto connected = connect_socket(socket.get(), at->ai_addr, at->ai_addrlen, deadline);
    if (connected) return StreamClient(std::move(socket), host + ":" + service);
    last = connected.error();
  }
  return fail(last.wrap(host + ":" + service));
}

Result<StreamClient> StreamClient::connect_unix(const std::string& path, const Deadline& deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(path + " is too long for a Unix socket");
  path.copy(address.sun_path, path.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return fail_errno("cannot make a socket");
  auto connected = connect_socket(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                                  sizeof address, deadline);
  if (!connected) return fail(connected.error().wrap(path));
  return StreamClient(std::move(socket), path);
}

Result<void> StreamClient::start_tls(const std::string& host, const config::LogTls& tls,
                                     const Deadline& deadline) {
  auto state = std::make_unique<Tls>();
  state->context = SSL_CTX_new(TLS_client_method());
  SSL_CTX* const context = state->context;
  if (context == nullptr) return fail("cannot set up TLS: " + tls_error());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  const bool has_authorities = tls.ca_file
                                   ? SSL_CTX_load_verify_file(context, tls.ca_file->c_str()) == 1
                                   : SSL_CTX_set_default_verify_paths(context) == 1;
  if (!has_authorities)
    return fail("cannot read " + tls.ca_file.value_or("the system's CAs") + ": " + tls_error());
  if (tls.certificate_file &&
      (SSL_CTX_use_certificate_chain_file(context, tls.certificate_file->c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(context, tls.key_file.value_or(*tls.certificate_file).c_str(),
                                   SSL_FILETYPE_PEM) != 1)) {
    return fail("cannot use " + *tls.certificate_file + ": " + tls_error());
  }
  SSL_CTX_set_verify(context, tls.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  state->session = SSL_new(context);
  SSL_set_fd(state->session, socket_.get());
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(state->session);
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) != 1) {
    ERR_clear_error();
    SSL_set_tlsext_host_name(state->session, host.c_str());
    SSL_set1_host(state->session, host.c_str());
  }
  tls_ = std::move(state);
  for (;;) {
    const int result = SSL_connect(tls_->session);
    if (result == 1) return {};
    if (auto ready = wait_for_tls(result, "cannot start TLS", deadline); !ready) return ready;
  }
}

Result<void> StreamClient::wait_for_tls(int result, const char* what, const Deadline& deadline) {
  switch (SSL_get_error(tls_->session, result)) {
    case SSL_ERROR_WANT_READ: return wait_for(socket_.get(), POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE: return wait_for(socket_.get(), POLLOUT, deadline);
    default: {
      const long verdict = SSL_get_verify_result(tls_->session);
      if (verdict != X509_V_OK) {
        return fail(std::string(what) + ": " + X509_verify_cert_error_string(verdict));
      }
      return fail(std::string(what) + ": " + tls_error());
    }
  }
}

Result<void> StreamClient::write(std::string_view bytes, const Deadline& deadline) {
  while (!bytes.empty()) {
    if (tls_) {
      const int count = SSL_write(tls_->session, bytes.data(), static_cast<int>(bytes.size()));
      if (count > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(count));
      } else if (auto ready = wait_for_tls(count, "cannot write", deadline); !ready) {
        return fail(ready.error().wrap(place_));
      }
      continue;
    }
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (auto ready = wait_for(socket_.get(), POLLOUT, deadline); !ready) {
        return fail(ready.error().wrap(place_));
      }
    } else if (errno != EINTR) {
      return fail_errno(place_ + ": cannot write");
    }
  }
  return {};
}

Result<std::string_view> StreamClient::read(const Deadline& deadline) {
  buffer_.resize(kReadBytes);
  for (;;) {
    if (tls_) {
      const int count = SSL_read(tls_->session, buffer_.data(), static_cast<int>(buffer_.size()));
      if (count > 0) return std::string_view(buffer_.data(), static_cast<std::size_t>(count));
      if (SSL_get_error(tls_->session, count) == SSL_ERROR_ZERO_RETURN) return std::string_view();
      if (auto ready = wait_for_tls(count, "cannot read", deadline); !ready) {
        return fail(ready.error().wrap(place_));
      }
      continue;
    }
    const ssize_t count = ::recv(socket_.get(), buffer_.data(), buffer_.size(), 0);
    if (count >= 0) return std::string_view(buffer_.data(), static_cast<std::size_t>(count));
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail_errno(place_ + ": cannot read");
    if (auto ready = wait_for(socket_.get(), POLLIN, deadline); !ready) {
      return fail(ready.error().wrap(place_));
    }
  }
}

}  // namespace pillion::metrics
