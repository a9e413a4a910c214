#include "adapters/logs/output/syslog_output.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "adapters/logs/output/bulk_verdict.h"
#include "runtime/fd.h"
#include "runtime/log.h"

namespace pillion::logs {
namespace {

// Largest payload of a datagram over IPv4.
constexpr std::size_t kDatagramMax = 65'507;
constexpr std::int64_t kHurriedBackoffMs = 500;
constexpr Duration kAcknowledgePoll = std::chrono::milliseconds(2);

std::string tls_failure(const std::string& what) {
  const unsigned long code = ERR_get_error();
  char text[256] = "unknown reason";
  if (code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return what + ": " + text;
}

struct FreeTls {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* session) const { SSL_free(session); }
};

timeval timeval_of(std::chrono::milliseconds duration) {
  return {duration.count() / 1000, duration.count() % 1000 * 1000};
}

}  // namespace

// Blocks; used by one pool thread at a time.
class SyslogOutput::Connection {
 public:
  explicit Connection(SyslogOptions options) : options_(std::move(options)) {}

  // Sends all records, or fails; then the next try starts with a new connection.
  Result<void> send(const RecordBuffer& records) {
    auto done = socket_ ? Result<void>() : connect();
    if (done) done = options_.is_udp ? send_datagrams(records) : send_stream(records);
    if (!done) close();
    return done;
  }

 private:
  std::string peer() const { return fmt::format("{}:{}", options_.host, options_.port); }

  void close() {
    session_.reset();
    socket_.reset();
  }

  Result<void> connect() {
    addrinfo wanted{};
    wanted.ai_socktype = options_.is_udp ? SOCK_DGRAM : SOCK_STREAM;
    wanted.ai_flags = AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const int failure = ::getaddrinfo(options_.host.c_str(), std::to_string(options_.port).c_str(),
                                      &wanted, &found);
    if (failure != 0) {
      return fail(fmt::format("cannot resolve {}: {}", options_.host, ::gai_strerror(failure)));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
    int error = 0;
    for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
      Fd socket(::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, 0));
      if (!socket) {
        error = errno;
        continue;
      }
      const timeval timeout = timeval_of(options_.timeout);
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
      if (::connect(socket.get(), address->ai_addr, address->ai_addrlen) < 0) {
        error = errno == EINPROGRESS ? ETIMEDOUT : errno;
        continue;
      }
      const int on = 1;
      ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      socket_ = std::move(socket);
      return options_.has_tls ? start_tls() : Result<void>();
    }
    return fail(Error::from_errno("cannot connect to " + peer(), error));
  }

  Result<void> start_tls() {
    const std::unique_ptr<SSL_CTX, FreeTls> context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    if (options_.ca_file.empty()) {
      SSL_CTX_set_default_verify_paths(context.get());
    } else if (SSL_CTX_load_verify_locations(context.get(), options_.ca_file.c_str(), nullptr) !=
               1) {
      return fail(tls_failure("cannot use " + options_.ca_file));
    }
    if (!options_.certificate_file.empty() &&
        (SSL_CTX_use_certificate_chain_file(context.get(), options_.certificate_file.c_str()) !=
             1 ||
         SSL_CTX_use_PrivateKey_file(context.get(), options_.key_file.c_str(), SSL_FILETYPE_PEM) !=
             1)) {
      return fail(tls_failure("cannot use " + options_.certificate_file + " with its key"));
    }
    SSL_CTX_set_verify(context.get(), options_.is_peer_verified ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       nullptr);
    session_.reset(SSL_new(context.get()));
    in6_addr address;
    const bool is_address = ::inet_pton(AF_INET, options_.host.c_str(), &address) == 1 ||
                            ::inet_pton(AF_INET6, options_.host.c_str(), &address) == 1;
    if (is_address) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session_.get()), options_.host.c_str());
    } else {
      SSL_set_tlsext_host_name(session_.get(), options_.host.c_str());
      SSL_set1_host(session_.get(), options_.host.c_str());
    }
    SSL_set_fd(session_.get(), socket_.get());
    if (SSL_connect(session_.get()) == 1) return {};
    const long verdict = SSL_get_verify_result(session_.get());
    const std::string why =
        verdict == X509_V_OK ? "" : fmt::format(" ({})", X509_verify_cert_error_string(verdict));
    return fail(tls_failure("TLS with " + peer() + " failed" + why));
  }

  Result<void> send_datagrams(const RecordBuffer& records) {
    SyslogLineOptions options = options_.line;
    options.bytes_max = std::min(options.bytes_max, kDatagramMax);
    for (std::size_t i = 0; i < records.record_count(); ++i) {
      const std::string line = syslog_line(records.record(i), options);
      // A refusal that an earlier datagram met is told to the next: that is sent once more.
      ssize_t sent = ::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == ECONNREFUSED) {
        sent = ::send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL);
      }
      if (sent < 0 && errno != ECONNREFUSED) {
        return fail_errno("cannot send to " + peer() + " (UDP)");
      }
    }
    return {};
  }

  Result<void> send_stream(const RecordBuffer& records) {
    std::string text;
    for (std::size_t i = 0; i < records.record_count(); ++i) {
      const std::string line = syslog_line(records.record(i), options_.line);
      text += fmt::format("{} {}", line.size(), line);
    }
    if (auto alive = check_peer(); !alive) return alive;
    for (std::size_t at = 0; at < text.size();) {
      const auto sent = write_some(std::string_view(text).substr(at));
      if (!sent) return fail(sent.error());
      at += *sent;
    }
    return wait_acknowledged();
  }

  Result<std::size_t> write_some(std::string_view bytes) {
    if (session_) {
      std::size_t count = 0;
      if (SSL_write_ex(session_.get(), bytes.data(), bytes.size(), &count) == 1) return count;
      return fail(tls_failure("cannot send to " + peer()));
    }
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EINTR) return std::size_t{0};
    return fail(Error::from_errno("cannot send to " + peer(), errno == EAGAIN ? ETIMEDOUT : errno));
  }

  // A receiver that has gone is noticed before more is sent to it. It has nothing to say to us.
  Result<void> check_peer() {
    char byte;
    const ssize_t count = ::recv(socket_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count == 0) return fail(peer() + " has closed the connection");
    if (count < 0 && errno != EAGAIN && errno != EINTR) {
      return fail_errno("the connection to " + peer() + " broke");
    }
    return {};
  }

  Result<void> wait_acknowledged() {
    const auto deadline = std::chrono::steady_clock::now() + options_.timeout;
    for (;;) {
      int unacknowledged = 0;
      if (::ioctl(socket_.get(), SIOCOUTQ, &unacknowledged) < 0) {
        return fail_errno("cannot ask what " + peer() + " has acknowledged");
      }
      tcp_info info{};
      socklen_t length = sizeof info;
      ::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &length);
      const bool is_broken = info.tcpi_state == TCP_CLOSE;
      if (unacknowledged == 0 && !is_broken) return {};
      if (is_broken) return fail("the connection to " + peer() + " broke");
      if (std::chrono::steady_clock::now() > deadline) {
        return fail(fmt::format("{} has not acknowledged {} bytes", peer(), unacknowledged));
      }
      pollfd wait{socket_.get(), 0, 0};  // POLLHUP and POLLERR end it early
      ::poll(&wait, 1,
             static_cast<int>(
                 std::chrono::duration_cast<std::chrono::milliseconds>(kAcknowledgePoll).count()));
    }
  }

  SyslogOptions options_;
  Fd socket_;
  std::unique_ptr<SSL, FreeTls> session_;
};

SyslogOutput::SyslogOutput(Loop& loop, SyslogOptions options, OnDone on_done)
    : loop_(loop),
      options_(options),
      on_done_(std::move(on_done)),
      connection_(std::make_shared<Connection>(std::move(options))),
      is_alive_(std::make_shared<bool>(true)),
      backoff_(loop) {}

SyslogOutput::~SyslogOutput() { *is_alive_ = false; }

std::string SyslogOutput::name() const {
  return fmt::format("syslog {}:{}", options_.host, options_.port);
}

void SyslogOutput::deliver(Batch& batch) {
  queue_.push_back(&batch);
  send_next();
}

void SyslogOutput::send_next() {
  if (is_sending_ || queue_.empty() || backoff_.is_active()) return;
  is_sending_ = true;
  auto result = std::make_shared<Result<void>>();
  loop_.queue_work([connection = connection_, batch = queue_.front(),
                    result] { *result = connection->send(batch->records); },
                   [this, is_alive = is_alive_, result] {
                     if (*is_alive) on_sent(*result);
                   });
}

void SyslogOutput::on_sent(const Result<void>& result) {
  is_sending_ = false;
  if (!result) {
    const std::string why = result.error().message();
    if (trouble_ != why) log::warn("{}: {}; trying again", name(), why);
    trouble_ = why;
    static thread_local std::mt19937_64 random(std::random_device{}());
    const double uniform = std::uniform_real_distribution<double>()(random);
    const auto max = is_hurried_ ? kHurriedBackoffMs : options_.backoff_max.count();
    const auto wait = backoff_ms(attempt_++, options_.backoff_base.count(), max, uniform);
    backoff_.start(std::chrono::milliseconds(wait), [this] { send_next(); });
    return;
  }
  attempt_ = 0;
  trouble_.clear();
  Batch& batch = *queue_.front();
  queue_.pop_front();
  send_next();
  on_done_(batch);
}

void SyslogOutput::hurry() {
  is_hurried_ = true;
  if (!backoff_.is_active()) return;
  backoff_.stop();
  send_next();
}

}  // namespace pillion::logs
