#include "proxy/tls_context.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

#include <algorithm>
#include <map>

#include "proxy/tls_peer.h"
#include "runtime/fd.h"

namespace pillion::proxy {

using X509Pointer = std::unique_ptr<X509, decltype(&X509_free)>;

// The files of an identity, read once and consistent with each other.
struct IdentityFiles {
  std::vector<X509Pointer> chain;  // the leaf first
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{nullptr, &EVP_PKEY_free};
  std::vector<X509Pointer> trust;
};

namespace {

constexpr std::size_t kFileBytesMax = 4u << 20;
constexpr long kTicketSeconds = 3600;
constexpr char kSuites13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr char kSuites12[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr unsigned char kHttp1Name[] = "\x08http/1.1";
constexpr unsigned char kHttp2Name[] = "\x02h2";
constexpr unsigned char kBothNames[] = "\x02h2\x08http/1.1";
// From clients 1.0 is taken too: curl --http1.0 offers nothing else.
constexpr unsigned char kServedNames[] = "\x02h2\x08http/1.1\x08http/1.0";

// Whose certificates a context accepts; owned by the context (see policy_index).
struct PeerPolicy {
  std::vector<std::string> patterns;
};

void free_policy(void*, void* policy, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<PeerPolicy*>(policy);
}
int policy_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_policy);
  return index;
}

std::string openssl_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  return text == nullptr ? "unknown error" : text;
}

// A name that does not match is refused within the handshake, so that the peer is told.
int verify_peer(int is_chain_good, X509_STORE_CTX* store) {
  if (is_chain_good != 1 || X509_STORE_CTX_get_error_depth(store) != 0) return is_chain_good;
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const auto* policy =
      static_cast<const PeerPolicy*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), policy_index()));
  const X509* leaf = X509_STORE_CTX_get_current_cert(store);
  if (policy == nullptr || refusal_of(names_of(*leaf), policy->patterns).empty()) return 1;
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

int select_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                const unsigned char* offered, unsigned offered_size, void*) {
  const auto choice =
      static_cast<AlpnChoice>(reinterpret_cast<std::uintptr_t>(SSL_get_app_data(ssl)));
  if (choice == AlpnChoice::None) return SSL_TLSEXT_ERR_NOACK;
  const unsigned char* ours = kServedNames;
  unsigned size = sizeof kServedNames - 1;
  if (choice == AlpnChoice::Http1) {
    ours += sizeof kHttp2Name - 1;
    size = sizeof kServedNames - sizeof kHttp2Name;
  } else if (choice == AlpnChoice::Http2) {
    ours = kHttp2Name;
    size = sizeof kHttp2Name - 1;
  }
  unsigned char* selected = nullptr;
  const int found = SSL_select_next_proto(&selected, out_size, ours, size, offered, offered_size);
  *out = selected;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* slot = static_cast<TlsSessionSlot*>(SSL_get_app_data(ssl));
  if (slot == nullptr) return 0;
  slot->keep(session);
  return 1;
}

std::shared_ptr<SSL_CTX> make_context(const SSL_METHOD* method, config::TlsVersion minimum) {
  SSL_CTX* context = SSL_CTX_new(method);
  PILLION_ASSERT(context != nullptr);
  SSL_CTX_set_min_proto_version(
      context, minimum == config::TlsVersion::Tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_options(
      context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // The chain is what the file holds. Else each handshake would build and verify it anew from the
  // trust bundle, an eighth of its cost.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(context, 1);  // a record in one system call instead of two
  PILLION_ASSERT(SSL_CTX_set_ciphersuites(context, kSuites13) == 1);
  PILLION_ASSERT(SSL_CTX_set_cipher_list(context, kSuites12) == 1);
  PILLION_ASSERT(SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") == 1);
  return {context, &SSL_CTX_free};
}

void set_policy(SSL_CTX* context, std::vector<std::string> patterns) {
  auto* policy = new PeerPolicy{std::move(patterns)};
  PILLION_ASSERT(SSL_CTX_set_ex_data(context, policy_index(), policy) == 1);
}

Result<void> use_identity(SSL_CTX* context, const IdentityFiles& files) {
  bool is_good = SSL_CTX_use_certificate(context, files.chain.front().get()) == 1 &&
                 SSL_CTX_use_PrivateKey(context, files.key.get()) == 1;
  for (std::size_t i = 1; i < files.chain.size() && is_good; ++i) {
    is_good = SSL_CTX_add1_chain_cert(context, files.chain[i].get()) == 1;
  }
  if (!is_good) return fail("cannot use the certificate and key: " + openssl_error());
  return {};
}

void trust(SSL_CTX* context, const std::vector<X509Pointer>& certificates) {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const X509Pointer& one : certificates) {
    // Has it take its extensions apart now: else the first handshakes of several threads would.
    X509_check_purpose(one.get(), -1, 0);
    X509_STORE_add_cert(store, one.get());
  }
  ERR_clear_error();  // a certificate that is there twice
}

// ---- Files --------------------------------------------------------------------------------------

using FileTexts = std::map<std::string, std::string>;

Result<std::vector<X509Pointer>> parse_certificates(const std::string& path,
                                                    const std::string& text) {
  std::vector<X509Pointer> certificates;
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
  while (X509* one = PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(one, &X509_free);
  }
  const bool is_at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!is_at_end) return fail(path + " holds a malformed certificate: " + openssl_error());
  ERR_clear_error();
  if (certificates.empty()) return fail(path + " holds no certificate (PEM is expected)");
  return certificates;
}

Result<IdentityFiles> parse_identity(const config::Identity& identity, const FileTexts& texts) {
  IdentityFiles files;
  auto chain = parse_certificates(identity.certificate_file, texts.at(identity.certificate_file));
  if (!chain) return fail(chain.error());
  files.chain = std::move(*chain);
  const std::string& key_text = texts.at(identity.key_file);
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())), &BIO_free);
  // No pass phrase is asked for: a daemon has nobody to ask.
  files.key.reset(PEM_read_bio_PrivateKey(
      bio.get(), nullptr, [](char*, int, int, void*) { return -1; }, nullptr));
  if (!files.key) {
    return fail(identity.key_file + " holds no usable private key (PEM without a pass phrase is " +
                "expected): " + openssl_error());
  }
  if (X509_check_private_key(files.chain.front().get(), files.key.get()) != 1) {
    ERR_clear_error();
    return fail(identity.key_file + " is not the key of " + identity.certificate_file);
  }
  auto trusted =
      parse_certificates(identity.trust_bundle_file, texts.at(identity.trust_bundle_file));
  if (!trusted) return fail(trusted.error());
  files.trust = std::move(*trusted);
  return files;
}

std::int64_t seconds_of(const ASN1_TIME* time) {
  tm broken{};
  if (ASN1_TIME_to_tm(time, &broken) != 1) return 0;
  return timegm(&broken);
}

CertificateInfo describe(const X509& certificate, std::string file, std::string use) {
  CertificateInfo info;
  info.file = std::move(file);
  info.use = std::move(use);
  char subject[256];
  X509_NAME_oneline(X509_get_subject_name(&certificate), subject, sizeof subject);
  info.subject = subject;
  const ASN1_INTEGER* serial = X509_get0_serialNumber(&certificate);
  if (BIGNUM* number = ASN1_INTEGER_to_BN(serial, nullptr)) {
    if (char* text = BN_bn2hex(number)) {
      info.serial = text;
      OPENSSL_free(text);
    }
    BN_free(number);
  }
  const CertificateNames names = names_of(certificate);
  info.uris = names.uris;
  info.dns = names.dns;
  info.not_before = seconds_of(X509_get0_notBefore(&certificate));
  info.not_after = seconds_of(X509_get0_notAfter(&certificate));
  return info;
}

std::string digest_of(const FileTexts& texts) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> hash(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
  for (const auto& [path, text] : texts) {
    EVP_DigestUpdate(hash.get(), path.c_str(), path.size() + 1);
    EVP_DigestUpdate(hash.get(), text.data(), text.size());
  }
  EVP_DigestFinal_ex(hash.get(), digest, &size);
  return {reinterpret_cast<const char*>(digest), size};
}

bool is_ip_address(const std::string& host) { return config::IpAddress::parse(host).has_value(); }

}  // namespace

// ---- Server -------------------------------------------------------------------------------------

void TlsSessionSlot::keep(ssl_session_st* session) {
  if (session_ != nullptr) SSL_SESSION_free(session_);
  session_ = session;
}

Result<std::shared_ptr<const ServerTls>> ServerTls::create(const config::ProxyConfig& config,
                                                           const IdentityFiles& files) {
  auto made = std::make_shared<ServerTls>();
  made->context_ = make_context(TLS_server_method(), config::TlsVersion::Tls12);
  SSL_CTX* context = made->context_.get();
  if (auto used = use_identity(context, files); !used) return fail(used.error());
  trust(context, files.trust);
  for (const X509Pointer& one : files.trust) SSL_CTX_add_client_CA(context, one.get());
  set_policy(context, config.inbound.allowed_peers);
  SSL_CTX_set_alpn_select_cb(context, &select_alpn, nullptr);
  TlsStream::note_secrets(context);
  // Sessions live in tickets alone: workers share the context and with it the ticket keys, and
  // nobody takes a lock for a cache.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(context, kTicketSeconds);
  SSL_CTX_set_num_tickets(context, 1);
  constexpr unsigned char kSessionContext[] = "pillion-proxy";
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof kSessionContext - 1);
  const CertificateNames names = names_of(*files.chain.front());
  if (names.uris.size() == 1) made->own_uri_ = names.uris.front();
  return std::shared_ptr<const ServerTls>(std::move(made));
}

std::unique_ptr<TlsStream> ServerTls::make_stream(AlpnChoice alpn,
                                                  bool requires_certificate) const {
  auto stream = std::make_unique<TlsStream>(context_.get(), TlsStream::Role::Server);
  SSL* ssl = stream->handle();
  SSL_set_app_data(ssl, reinterpret_cast<void*>(static_cast<std::uintptr_t>(alpn)));
  SSL_set_verify(ssl,
                 SSL_VERIFY_PEER | (requires_certificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                 &verify_peer);
  return stream;
}

// ---- Client -------------------------------------------------------------------------------------

Result<std::shared_ptr<const ClientTls>> ClientTls::create(const config::Upstream& upstream,
                                                           const config::ProxyConfig&,
                                                           const IdentityFiles* files) {
  const config::UpstreamTls& tls = *upstream.tls;
  auto made = std::make_shared<ClientTls>();
  made->context_ = make_context(TLS_client_method(), tls.min_version);
  SSL_CTX* context = made->context_.get();
  if (tls.use_identity && files != nullptr) {
    if (auto used = use_identity(context, *files); !used) return fail(used.error());
  }
  if (tls.ca_file) {
    auto text = read_file(*tls.ca_file, kFileBytesMax);
    if (!text) return fail(text.error());
    auto trusted = parse_certificates(*tls.ca_file, *text);
    if (!trusted) return fail(trusted.error());
    trust(context, *trusted);
  } else if (files != nullptr) {
    trust(context, files->trust);
  } else if (SSL_CTX_set_default_verify_paths(context) != 1) {
    return fail("cannot read the system's trusted certificates: " + openssl_error());
  }
  const std::string host = tls.server_name.value_or(upstream.address.front().host);
  if (!is_ip_address(host)) made->server_name_ = host;
  if (tls.spiffe_id) {
    set_policy(context, {*tls.spiffe_id});
  } else {
    X509_VERIFY_PARAM* parameters = SSL_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_hostflags(
        parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    const int is_set = is_ip_address(host)
                           ? X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str())
                           : X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), 0);
    if (is_set != 1) return fail("cannot verify certificates by the name " + host);
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, &verify_peer);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  SSL_CTX_sess_set_new_cb(context, &keep_session);
  return std::shared_ptr<const ClientTls>(std::move(made));
}

std::unique_ptr<TlsStream> ClientTls::make_stream(AlpnChoice alpn, TlsSessionSlot& slot) const {
  auto stream = std::make_unique<TlsStream>(context_.get(), TlsStream::Role::Client);
  SSL* ssl = stream->handle();
  SSL_set_app_data(ssl, &slot);
  if (!server_name_.empty()) SSL_set_tlsext_host_name(ssl, server_name_.c_str());
  if (alpn == AlpnChoice::Http1) SSL_set_alpn_protos(ssl, kHttp1Name, sizeof kHttp1Name - 1);
  if (alpn == AlpnChoice::Http2) SSL_set_alpn_protos(ssl, kHttp2Name, sizeof kHttp2Name - 1);
  if (alpn == AlpnChoice::Both) SSL_set_alpn_protos(ssl, kBothNames, sizeof kBothNames - 1);
  if (slot.session() != nullptr) SSL_set_session(ssl, slot.session());
  return stream;
}

// ---- All of it ----------------------------------------------------------------------------------

std::vector<std::string> tls_files(const config::ProxyConfig& config) {
  std::vector<std::string> files;
  if (config.identity) {
    files = {config.identity->certificate_file, config.identity->key_file,
             config.identity->trust_bundle_file};
  }
  for (const config::Upstream& upstream : config.upstreams) {
    if (upstream.tls && upstream.tls->ca_file) files.push_back(*upstream.tls->ca_file);
  }
  return files;
}

Result<TlsPointer> load_tls(const config::ProxyConfig& config) {
  auto state = std::make_shared<TlsState>();
  const bool is_wanted =
      config.identity || std::any_of(config.upstreams.begin(), config.upstreams.end(),
                                     [](const auto& upstream) { return upstream.tls.has_value(); });
  if (!is_wanted) {  // OpenSSL is not even initialised: it takes half a megabyte
    state->upstreams.resize(config.upstreams.size());
    return TlsPointer(std::move(state));
  }
  FileTexts texts;
  for (const std::string& path : tls_files(config)) {
    auto text = read_file(path, kFileBytesMax);
    if (!text) return fail(text.error());
    texts[path] = std::move(*text);
  }
  state->files_digest = digest_of(texts);
  std::unique_ptr<IdentityFiles> files;
  if (config.identity) {
    auto parsed = parse_identity(*config.identity, texts);
    if (!parsed) return fail(parsed.error());
    files = std::make_unique<IdentityFiles>(std::move(*parsed));
    auto server = ServerTls::create(config, *files);
    if (!server) return fail(server.error());
    state->server = std::move(*server);
    for (const X509Pointer& one : files->chain) {
      state->certificates.push_back(describe(*one, config.identity->certificate_file, "identity"));
    }
    for (const X509Pointer& one : files->trust) {
      state->certificates.push_back(describe(*one, config.identity->trust_bundle_file, "trust"));
    }
  }
  for (const config::Upstream& upstream : config.upstreams) {
    if (!upstream.tls) {
      state->upstreams.emplace_back();
      continue;
    }
    auto client = ClientTls::create(upstream, config, files.get());
    if (!client) return fail(client.error().wrap("upstream " + upstream.name));
    state->upstreams.push_back(std::move(*client));
  }
  return TlsPointer(std::move(state));
}

std::string_view handshake_failure_details(const TlsStream& stream) {
  SSL* ssl = const_cast<TlsStream&>(stream).handle();
  switch (SSL_get_verify_result(ssl)) {
    case X509_V_OK: break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID: return "tls_certificate_expired";
    case X509_V_ERR_APPLICATION_VERIFICATION: return "tls_peer_refused";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return "tls_name_mismatch";
    default: return "tls_certificate_not_trusted";
  }
  if (stream.failure().find("did not return a certificate") != std::string::npos) {
    return "tls_no_certificate";
  }
  return "tls_handshake_failed";
}

}  // namespace pillion::proxy
