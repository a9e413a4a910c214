// What TLS needs of the configuration: contexts made from certificate files, ready to make
// connections of. A TlsState is immutable; rotation makes a new one, and with it new ticket keys,
// so that a session of the old identity or the old trust is never resumed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/proxy.h"
#include "proxy/tls_stream.h"
#include "runtime/result.h"

struct ssl_ctx_st;
struct ssl_session_st;

namespace pillion::proxy {

// One certificate of the files, for /certs and the expiry gauge.
struct CertificateInfo {
  std::string file;
  std::string use;  // "identity", "trust"
  std::string subject;
  std::string serial;  // hexadecimal
  std::vector<std::string> uris;
  std::vector<std::string> dns;
  std::int64_t not_before = 0;  // seconds since 1970
  std::int64_t not_after = 0;
};

// The protocols that a side offers or accepts by ALPN.
enum class AlpnChoice : std::uint8_t { None, Http1, Http2, Both };

// The latest session of an endpoint, for resumption. Belongs to one worker.
class TlsSessionSlot {
 public:
  TlsSessionSlot() = default;
  TlsSessionSlot(const TlsSessionSlot&) = delete;
  TlsSessionSlot& operator=(const TlsSessionSlot&) = delete;
  ~TlsSessionSlot() { keep(nullptr); }
  ssl_session_st* session() const { return session_; }
  void keep(ssl_session_st* session);  // takes the reference over

 private:
  ssl_session_st* session_ = nullptr;
};

// Any thread may make streams of a context; OpenSSL counts the references.
class ServerTls {
 public:
  static Result<std::shared_ptr<const ServerTls>> create(const config::ProxyConfig& config,
                                                         const struct IdentityFiles& files);
  // `requires_certificate` false: a client may come without one (what it shows is still verified).
  std::unique_ptr<TlsStream> make_stream(AlpnChoice alpn, bool requires_certificate) const;
  const std::string& own_uri() const { return own_uri_; }

 private:
  std::shared_ptr<ssl_ctx_st> context_;  // shared with the connections made of it
  std::string own_uri_;
};

class ClientTls {
 public:
  static Result<std::shared_ptr<const ClientTls>> create(const config::Upstream& upstream,
                                                         const config::ProxyConfig& config,
                                                         const struct IdentityFiles* files);
  // `slot` must outlive the stream.
  std::unique_ptr<TlsStream> make_stream(AlpnChoice alpn, TlsSessionSlot& slot) const;

 private:
  std::shared_ptr<ssl_ctx_st> context_;
  std::string server_name_;  // for SNI; empty when the endpoint is known by address only
};

struct TlsState {
  std::shared_ptr<const ServerTls> server;                  // null without an identity
  std::vector<std::shared_ptr<const ClientTls>> upstreams;  // by index; null without TLS
  std::vector<CertificateInfo> certificates;
  std::string files_digest;  // of all files read; equal means that nothing changed
};
// Shared by the route tables that were made under it.
using TlsPointer = std::shared_ptr<const TlsState>;

// Reads every certificate file that the configuration names. The error names the file.
Result<TlsPointer> load_tls(const config::ProxyConfig& config);
// The files that load_tls() reads.
std::vector<std::string> tls_files(const config::ProxyConfig& config);

// What the verification of the peer's certificate ended with, for the log: "certificate_expired",
// "unknown_ca", "no_certificate", "peer_refused", "handshake_failed".
std::string_view handshake_failure_details(const TlsStream& stream);

}  // namespace pillion::proxy
