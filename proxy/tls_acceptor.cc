#include "proxy/tls_acceptor.h"

#include <openssl/ssl.h>

#include "proxy/tls_peer.h"
#include "proxy/worker.h"
#include "runtime/log.h"

namespace pillion::proxy {
namespace {

constexpr char kHandshakeRecord = 0x16;  // RFC 8446 §5.1

// What a client may choose by ALPN on a port of this protocol.
AlpnChoice alpn_of(config::ProxyProtocol protocol) {
  switch (protocol) {
    case config::ProxyProtocol::Auto:
    case config::ProxyProtocol::Http: return AlpnChoice::Both;
    case config::ProxyProtocol::Http2:
    case config::ProxyProtocol::Grpc: return AlpnChoice::Http2;
    case config::ProxyProtocol::Tcp:
    case config::ProxyProtocol::Tls: return AlpnChoice::None;
  }
  return AlpnChoice::None;
}

bool is_http(config::ProxyProtocol protocol) {
  return alpn_of(protocol) != AlpnChoice::None && protocol != config::ProxyProtocol::Auto;
}

}  // namespace

TlsAcceptor::TlsAcceptor(Worker& worker, DownstreamContext context, config::ProxyProtocol protocol,
                         config::MutualTls mode, Fd fd)
    : worker_(worker),
      context_(std::move(context)),
      socket_(worker.reactor(), std::move(fd)),
      protocol_(protocol),
      state_(mode == config::MutualTls::Permissive ? State::Peeking : State::Handshaking),
      started_ns_(worker.reactor().now_ns()) {
  socket_.attach(*this);
}

void TlsAcceptor::begin() {
  const auto& timeouts = context_.routes->snapshot->config().timeouts;
  if (state_ == State::Handshaking) {
    start_handshake();
  } else {
    // Of a client that has said nothing yet it is not known that it will speak TLS.
    const auto delay = is_http(protocol_) ? timeouts.request_headers : timeouts.tcp_idle;
    worker_.reactor().timers().arm(*this, worker_.reactor().now() + delay.count());
  }
  advance();
}

void TlsAcceptor::on_events(std::uint32_t events) {
  if (state_ == State::Done) return;
  socket_.note_events(events);
  advance();
}

void TlsAcceptor::advance() {
  if (state_ == State::Peeking) peek();
  if (state_ != State::Handshaking) return;
  switch (socket_.handshake()) {
    case HandshakeStatus::WouldBlock: return;
    case HandshakeStatus::Done: accept_peer(); return;
    case HandshakeStatus::Failed: {
      const std::string& reason = socket_.tls()->failure();
      const bool is_plain_http = reason == "http request";  // OpenSSL's word for it
      refuse(handshake_failure_details(*socket_.tls()),
             is_plain_http ? "it speaks HTTP without TLS, and the port's mutual_tls is strict"
                           : std::string_view(reason));
      return;
    }
  }
}

// One byte tells: no plain protocol that we carry begins with that of a handshake record.
void TlsAcceptor::peek() {
  char first = 0;
  const IoResult result = socket_.peek(&first, 1);
  switch (result.status) {
    case IoStatus::WouldBlock: return;
    case IoStatus::Eof:
    case IoStatus::Failed: close(); return;
    case IoStatus::Ok: break;
  }
  const bool is_tls = first == kHandshakeRecord;
  auto& times = worker_.stats().detections[static_cast<std::size_t>(context_.kind)];
  times[static_cast<std::size_t>(is_tls ? DetectedAs::Tls : DetectedAs::Plain)].observe(
      worker_.reactor().now_ns() - started_ns_);
  if (is_tls) {
    start_handshake();
  } else {
    worker_.stats().tls_plain.add();
    hand_on(protocol_);
  }
}

void TlsAcceptor::start_handshake() {
  state_ = State::Handshaking;
  const config::ProxyConfig& config = context_.routes->snapshot->config();
  socket_.start_tls(context_.routes->tls->server->make_stream(
      alpn_of(protocol_), config.inbound.require_client_certificate));
  worker_.reactor().timers().arm(*this,
                                 worker_.reactor().now() + config.timeouts.tls_handshake.count());
}

// The certificate is verified; what of it is passed on is noted once per connection.
void TlsAcceptor::accept_peer() {
  TlsStream& tls = *socket_.tls();
  worker_.stats().tls_handshakes.add();
  if (tls.is_resumed()) worker_.stats().tls_resumed.add();
  auto identity = std::make_unique<ClientIdentity>();
  X509* certificate = SSL_get0_peer_certificate(tls.handle());
  if (certificate != nullptr) {
    if (tls.is_resumed() && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
      refuse("tls_certificate_expired", "the certificate of the resumed session has expired");
      return;
    }
    const CertificateNames names = names_of(*certificate);
    if (names.uris.size() == 1) identity->peer_uri = names.uris.front();
    identity->client_certificate =
        forwarded_client_certificate(*certificate, context_.routes->tls->server->own_uri());
  }
  identity->tls_version = tls.version();
  context_.identity = std::move(identity);
  const std::string alpn(tls.negotiated_alpn());
  tls.slim_down();  // all that the handshake tells is known
  if (alpn == "h2") {
    state_ = State::Done;
    worker_.reactor().timers().disarm(*this);
    worker_.begin_http2(std::move(context_), std::move(socket_), {});
    worker_.remove(*this);
  } else if (alpn == "http/1.1" || alpn == "http/1.0") {
    hand_on(config::ProxyProtocol::Http);
  } else {
    hand_on(protocol_);
  }
}

void TlsAcceptor::hand_on(config::ProxyProtocol protocol) {
  state_ = State::Done;
  worker_.reactor().timers().disarm(*this);
  worker_.begin_connection(std::move(context_), protocol, std::move(socket_));
  worker_.remove(*this);
}

void TlsAcceptor::refuse(std::string_view details, std::string_view reason) {
  worker_.stats().tls_failures.add();
  log::warn("refused a TLS connection from {}: {}", context_.peer.to_string(), reason);
  if (worker_.is_log_enabled()) {
    const std::string peer = context_.peer.to_string();
    AccessRecord record;
    record.direction = direction_name(context_.direction);
    record.protocol = "tls";
    record.duration_ns = Reactor::precise_now_ns() - started_ns_;
    record.downstream_address = peer;
    record.details = details;
    record.flags = flag_name(Flag::DownstreamTlsFailure);
    worker_.log(record, started_ns_);
  }
  close();
}

void TlsAcceptor::abort() { close(); }

void TlsAcceptor::close() {
  if (state_ == State::Done) return;
  state_ = State::Done;
  worker_.reactor().timers().disarm(*this);
  socket_.close();
  worker_.remove(*this);
}

void TlsAcceptor::on_deadline(Milliseconds) {
  if (state_ == State::Handshaking) {
    refuse("tls_handshake_timeout", "the handshake took longer than timeouts.tls_handshake");
  } else {
    close();
  }
}

}  // namespace pillion::proxy
