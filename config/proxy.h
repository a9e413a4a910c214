// The table of a child with use = "proxy". Listening sockets normally come from the supervisor by
// name; the addresses here are what a proxy started alone binds, and what the supervisor opens.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/names.h"
#include "config/units.h"

namespace pillion::config {

enum class ProxyProtocol { Auto, Http, Http2, Grpc, Tcp, Tls };
PILLION_NAMES(ProxyProtocol, {ProxyProtocol::Auto, "auto"}, {ProxyProtocol::Http, "http"},
              {ProxyProtocol::Http2, "http2"}, {ProxyProtocol::Grpc, "grpc"},
              {ProxyProtocol::Tcp, "tcp"}, {ProxyProtocol::Tls, "tls"});

enum class MutualTls { Disable, Permissive, Strict };
PILLION_NAMES(MutualTls, {MutualTls::Disable, "disable"}, {MutualTls::Permissive, "permissive"},
              {MutualTls::Strict, "strict"});

struct InboundPort {
  std::string name;
  Port port = 0;
  ProxyProtocol protocol = ProxyProtocol::Auto;
  std::optional<MutualTls> mutual_tls;  // default: inbound.mutual_tls
  bool operator==(const InboundPort&) const = default;
};

// A listener for a published port and the app's port that it serves.
struct PublishedListener {
  std::string listener;  // name in LISTEN_FDNAMES, "publish-8080"
  Port port = 0;
  std::optional<SocketAddress> listen;  // bound when no such descriptor was handed over
  Transport transport = Transport::Tcp;
  bool operator==(const PublishedListener&) const = default;
};

// Forwarded and X-Forwarded-*, which an app believes.
enum class ForwardedFields { Set, Strip, Pass };
PILLION_NAMES(ForwardedFields, {ForwardedFields::Set, "set"}, {ForwardedFields::Strip, "strip"},
              {ForwardedFields::Pass, "pass"});

struct ProxyInbound {
  SocketAddress listen = SocketAddress::of("0.0.0.0:15006");
  IpAddress app_address = *IpAddress::parse("127.0.0.1");
  IpAddress source_address = *IpAddress::parse("127.0.0.6");  // of connections to the app
  std::vector<InboundPort> ports;                             // filled in from [app] ports
  std::vector<PublishedListener> published;                   // filled in from [network] publish
  MutualTls mutual_tls = MutualTls::Disable;
  bool require_client_certificate = true;  // where mutual_tls is not `disable`
  std::vector<std::string> allowed_peers;  // SPIFFE ids or trust domains; empty = any verified peer
  ForwardedFields forwarded = ForwardedFields::Set;
  unsigned trusted_hops = 0;          // proxies before us whose X-Forwarded-* are believed
  std::vector<Cidr> trusted_proxies;  // where they connect from; empty = anywhere
  bool operator==(const ProxyInbound&) const = default;
};

enum class UnknownDestination { Passthrough, Refuse };
PILLION_NAMES(UnknownDestination, {UnknownDestination::Passthrough, "passthrough"},
              {UnknownDestination::Refuse, "refuse"});

struct ProxyOutbound {
  SocketAddress listen = SocketAddress::of("127.0.0.1:15001");
  UnknownDestination unknown = UnknownDestination::Passthrough;
  bool operator==(const ProxyOutbound&) const = default;
};

struct ExplicitListener {
  SocketAddress listen;
  std::string upstream;  // empty = route by Host, or by SNI
  std::string fallback;  // upstream of what no name leads to; empty = refused
  ProxyProtocol protocol = ProxyProtocol::Http;
  Transport transport = Transport::Tcp;  // datagrams go to `upstream`, whatever `protocol` says
  bool operator==(const ExplicitListener&) const = default;
};

enum class TlsVersion { Tls12, Tls13 };
PILLION_NAMES(TlsVersion, {TlsVersion::Tls12, "1.2"}, {TlsVersion::Tls13, "1.3"});

// Presence means TLS towards the upstream.
struct UpstreamTls {
  std::optional<std::string> server_name;  // SNI and DNS name; default: host of the address
  std::optional<std::string> spiffe_id;    // whole id or trust domain ("spiffe://prod")
  std::optional<std::string> ca_file;      // default: identity's bundle, else the system's
  bool use_identity = true;                // present our certificate when `identity` is set
  TlsVersion min_version = TlsVersion::Tls12;
  bool operator==(const UpstreamTls&) const = default;
};

enum class RetryOn {
  ConnectFailure,
  RefusedStream,
  GatewayError,
  ServerError,
  Reset,
  PerTryTimeout,
  Retriable4xx,
  Unavailable,
  Cancelled,
  ResourceExhausted
};
PILLION_NAMES(RetryOn, {RetryOn::ConnectFailure, "connect-failure"},
              {RetryOn::RefusedStream, "refused-stream"}, {RetryOn::GatewayError, "gateway-error"},
              {RetryOn::ServerError, "5xx"}, {RetryOn::Reset, "reset"},
              {RetryOn::PerTryTimeout, "per-try-timeout"}, {RetryOn::Retriable4xx, "retriable-4xx"},
              {RetryOn::Unavailable, "unavailable"}, {RetryOn::Cancelled, "cancelled"},
              {RetryOn::ResourceExhausted, "resource-exhausted"});

struct Retry {
  unsigned attempts = 1;  // further tries after the first
  std::vector<RetryOn> on = {RetryOn::ConnectFailure, RetryOn::RefusedStream};
  std::optional<std::chrono::milliseconds> per_try_timeout;
  std::chrono::milliseconds backoff_base{25};
  std::chrono::milliseconds backoff_max{250};
  double budget_ratio = 0.2;        // of active requests
  unsigned budget_per_second = 10;  // always allowed
  Bytes buffer = kibibytes(64);     // larger bodies are not retried
  bool idempotent_post = false;
  bool operator==(const Retry&) const = default;
};

enum class LoadBalancing { LeastRequest, RoundRobin, PeakEwma, Random };
PILLION_NAMES(LoadBalancing, {LoadBalancing::LeastRequest, "least-request"},
              {LoadBalancing::RoundRobin, "round-robin"}, {LoadBalancing::PeakEwma, "peak-ewma"},
              {LoadBalancing::Random, "random"});

struct CircuitBreaker {
  unsigned max_connections = 1024;
  unsigned max_pending = 1024;
  unsigned max_requests = 1024;
  bool operator==(const CircuitBreaker&) const = default;
};

struct OutlierDetection {
  unsigned consecutive_failures = 5;
  std::chrono::milliseconds base_ejection{30'000};
  std::chrono::milliseconds max_ejection{300'000};
  double max_ejected = 0.5;  // share of the endpoints
  bool operator==(const OutlierDetection&) const = default;
};

struct UpstreamHealthCheck {
  std::string path = "/";
  std::chrono::milliseconds period{10'000};
  std::chrono::milliseconds timeout{1'000};
  unsigned failure_threshold = 3;
  unsigned success_threshold = 1;
  bool operator==(const UpstreamHealthCheck&) const = default;
};

struct UpstreamTimeouts {
  std::chrono::milliseconds connect{2'000};            // TLS included
  std::chrono::milliseconds response_headers{15'000};  // 0 = off
  std::chrono::milliseconds pool_idle{60'000};
  bool operator==(const UpstreamTimeouts&) const = default;
};

struct Upstream {
  std::string name;  // the table's key
  std::vector<HostPort> address;
  std::vector<std::string> hosts;  // what the app calls it; default: the name
  ProxyProtocol protocol = ProxyProtocol::Http;
  std::optional<UpstreamTls> tls;
  Retry retry;
  UpstreamTimeouts timeouts;
  LoadBalancing load_balancing = LoadBalancing::LeastRequest;
  CircuitBreaker circuit_breaker;
  OutlierDetection outlier_detection;
  std::optional<UpstreamHealthCheck> health_check;
  bool operator==(const Upstream&) const = default;
};

// Rotated by replacing the files; the last good set is kept.
struct Identity {
  std::string certificate_file;
  std::string key_file;
  std::string trust_bundle_file;
  bool operator==(const Identity&) const = default;
};

struct ProxyLimits {
  Bytes header_size = kibibytes(60);          // 431 above
  unsigned header_count = 100;                // 431 above
  std::optional<Bytes> body_size;             // 413 above; empty = unlimited, streamed
  Bytes inspected_body_size = mebibytes(10);  // 413 above, where bodies are inspected
  Bytes connection_buffer = kibibytes(64);    // per direction; reading pauses above
  unsigned max_connections = 10'000;          // downstream
  unsigned max_requests_per_connection = 0;   // 0 = unlimited
  unsigned max_streams = 100;                 // HTTP/2, per connection
  unsigned max_hops = 8;                      // own Via entries before 508
  unsigned max_udp_sessions = 4096;           // per worker
  bool operator==(const ProxyLimits&) const = default;
};

struct ProxyTimeouts {
  std::chrono::milliseconds tls_handshake{10'000};
  std::chrono::milliseconds request_headers{10'000};  // 408
  std::chrono::milliseconds app_connect{1'000};
  std::chrono::milliseconds app_pool_idle{3'000};
  std::chrono::milliseconds response_headers{15'000};  // inbound and unknown destinations; 504
  std::chrono::milliseconds stream_idle{300'000};
  std::chrono::milliseconds connection_idle{3'600'000};
  std::chrono::milliseconds tcp_idle{3'600'000};
  std::chrono::milliseconds half_closed{300'000};
  std::chrono::milliseconds delayed_close{1'000};
  std::chrono::milliseconds tcp_keepalive{60'000};
  std::chrono::milliseconds tcp_user{30'000};  // TCP_USER_TIMEOUT
  std::chrono::milliseconds udp_idle{60'000};
  bool operator==(const ProxyTimeouts&) const = default;
};

enum class AccessLogFormat { Json, Text };
PILLION_NAMES(AccessLogFormat, {AccessLogFormat::Json, "json"}, {AccessLogFormat::Text, "text"});

struct AccessLog {
  bool enabled = true;
  std::string path = "stdout";  // "stdout", "stderr" or an absolute path
  AccessLogFormat format = AccessLogFormat::Json;
  Bytes buffer = mebibytes(1);  // per worker; records beyond it are dropped and counted
  std::chrono::milliseconds flush_interval{200};
  bool operator==(const AccessLog&) const = default;
};

struct ProxyListen {
  SocketAddress listen;
  bool operator==(const ProxyListen&) const = default;
};

struct ProxyDrain {
  std::chrono::milliseconds minimum{5'000};  // listeners stay open at least so long
  std::chrono::milliseconds maximum{30'000};
  std::chrono::milliseconds goaway_grace{5'000};
  bool operator==(const ProxyDrain&) const = default;
};

struct ProxyOverload {
  double drain_at = 0.92;   // share of the memory limit: no keep-alive
  double refuse_at = 0.95;  // 503
  bool operator==(const ProxyOverload&) const = default;
};

enum class TrafficSide { Inbound, Outbound };
PILLION_NAMES(TrafficSide, {TrafficSide::Inbound, "inbound"}, {TrafficSide::Outbound, "outbound"});

enum class RuleAction { Continue, Allow, Deny };
PILLION_NAMES(RuleAction, {RuleAction::Continue, "continue"}, {RuleAction::Allow, "allow"},
              {RuleAction::Deny, "deny"});

// A service that is asked about a request: 2xx lets it pass, anything else is its answer.
struct ExternalCheck {
  std::string upstream;
  std::string path = "/";
  std::chrono::milliseconds timeout{1'000};
  bool send_body = false;
  bool allow_on_failure = false;
  std::vector<std::string> take_headers;  // of its answer, set on the request
  bool operator==(const ExternalCheck&) const = default;
};

// What happens to requests of a kind; rules are asked in the order of the file. Every condition
// that is given must hold.
struct ProxyRule {
  std::string name;  // the table's key
  TrafficSide side = TrafficSide::Inbound;
  std::vector<Port> ports;         // of the app; inbound only
  std::vector<std::string> peers;  // SPIFFE ids or trust domains
  std::vector<std::string> methods;
  std::vector<std::string> hosts;
  std::vector<std::string> paths;          // "/exact", "/prefix/*"
  std::vector<std::string> content_types;  // "application/json", "text/*"
  std::optional<Bytes> body_larger_than;
  std::optional<std::string> body_matches;         // PCRE2
  std::optional<std::string> json_pointer;         // RFC 6901
  std::optional<std::string> json_matches;         // PCRE2, of the value there
  std::map<std::string, std::string> set_headers;  // "$0", "$1" … are what matched
  std::string upstream;                            // routes the request there
  std::optional<ExternalCheck> check;
  RuleAction action = RuleAction::Continue;
  unsigned status = 403;  // of `deny`

  // Whether the body must be there before the rule can be asked.
  bool inspects_body() const {
    return body_larger_than || body_matches || json_pointer || (check && check->send_body);
  }
  bool operator==(const ProxyRule&) const = default;
};

struct ProxyConfig {
  std::string service;  // filled in by the supervisor
  unsigned workers = 1;
  std::string via = "pillion";  // pseudonym in Via
  ProxyInbound inbound;
  ProxyOutbound outbound;
  std::vector<ExplicitListener> explicit_listeners;  // key `explicit`
  std::vector<Upstream> upstreams;                   // key `upstream`, file order
  std::vector<ProxyRule> rules;                      // key `rule`, file order
  std::optional<Identity> identity;
  ProxyLimits limits;
  ProxyTimeouts timeouts;
  AccessLog access_log;
  ProxyListen health{SocketAddress::of("0.0.0.0:15021")};
  ProxyListen prometheus{SocketAddress::of("0.0.0.0:15090")};
  ProxyListen admin{SocketAddress::of("127.0.0.1:9901")};
  ProxyListen dns{SocketAddress::of("127.0.0.1:15053")};
  ProxyDrain drain;
  ProxyOverload overload;

  const Upstream* find_upstream(std::string_view name) const;
  bool operator==(const ProxyConfig&) const = default;
};

}  // namespace pillion::config
