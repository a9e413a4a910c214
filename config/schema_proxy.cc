// Schema of the proxy's table.
#include "config/proxy.h"
#include "config/table_builder.h"
#include "config/validate.h"

namespace pillion::config {

constexpr Rules kPath{.form = Form::AbsolutePath};
constexpr Rules kRequiredPath{.required = true, .form = Form::AbsolutePath};

template<>
const TableSchema& schema_of<InboundPort>() {
  static const TableSchema schema =
      TableBuilder<InboundPort>("Inbound port", "A port of the app.")
          .field("name", &InboundPort::name, "Shows in logs and metrics.")
          .field("port", &InboundPort::port, "The app's port.", {.required = true})
          .field("protocol", &InboundPort::protocol, "What is spoken on it.")
          .field("mutual_tls", &InboundPort::mutual_tls, "For this port alone.",
                 {.computed_default = "inbound.mutual_tls"})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<PublishedListener>() {
  static const TableSchema schema =
      TableBuilder<PublishedListener>("Published listener", "A host port that leads to the app.")
          .field("listener", &PublishedListener::listener,
                 "Name of the socket that is handed over, such as \"publish-8080\".",
                 {.required = true})
          .field("port", &PublishedListener::port, "The app's port.", {.required = true})
          .field("listen", &PublishedListener::listen,
                 "Address to bind when no such socket was handed over.")
          .field("transport", &PublishedListener::transport, "`udp` forwards datagrams.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyInbound>() {
  static const TableSchema schema =
      TableBuilder<ProxyInbound>("Inbound", "Traffic to the app.")
          .field("listen", &ProxyInbound::listen, "Where captured connections arrive.")
          .field("app_address", &ProxyInbound::app_address, "Where the app listens.")
          .field("source_address", &ProxyInbound::source_address,
                 "Source of connections to the app; exempt from capture.")
          .field("ports", &ProxyInbound::ports,
                 "The app's ports. The supervisor fills them in from `[app] ports`.")
          .field("published", &ProxyInbound::published,
                 "The supervisor fills them in from `[network] publish`.")
          .field("mutual_tls", &ProxyInbound::mutual_tls,
                 "`strict` takes only mutual TLS, `permissive` TLS and plain text on one port.")
          .field("require_client_certificate", &ProxyInbound::require_client_certificate,
                 "Where TLS is spoken; without it a client may come without a certificate.")
          .field("allowed_peers", &ProxyInbound::allowed_peers,
                 "SPIFFE ids or trust domains that may connect; empty is any verified peer.",
                 {.form = Form::SpiffeId})
          .field("forwarded", &ProxyInbound::forwarded,
                 "`X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded`: `set` says what we know, "
                 "`strip` removes them, `pass` leaves them to the client.")
          .field("trusted_hops", &ProxyInbound::trusted_hops,
                 "Proxies before us whose `X-Forwarded-*` are kept with `forwarded = \"set\"`.",
                 {.max = 100})
          .field("trusted_proxies", &ProxyInbound::trusted_proxies,
                 "Networks they connect from; empty is anywhere.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyOutbound>() {
  static const TableSchema schema =
      TableBuilder<ProxyOutbound>("Outbound", "The app's captured traffic to others.")
          .field("listen", &ProxyOutbound::listen, "Where captured connections arrive.")
          .field("unknown", &ProxyOutbound::unknown,
                 "Destinations that are no declared upstream: passed on, or refused with 502.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ExplicitListener>() {
  static const TableSchema schema =
      TableBuilder<ExplicitListener>("Explicit listener",
                                     "A local address that the app calls knowingly.")
          .field("listen", &ExplicitListener::listen, "Address to listen on.", {.required = true})
          .field("upstream", &ExplicitListener::upstream,
                 "Where requests go; empty routes by Host, or by SNI with `protocol = \"tls\"`.")
          .field("fallback", &ExplicitListener::fallback,
                 "Upstream of what no name leads to, when `upstream` is empty; without it such "
                 "requests are refused.")
          .field("protocol", &ExplicitListener::protocol, "What the app speaks to it.")
          .field("transport", &ExplicitListener::transport,
                 "`udp` forwards datagrams to `upstream`.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<UpstreamTls>() {
  static const TableSchema schema =
      TableBuilder<UpstreamTls>("TLS to an upstream", "Its presence switches TLS on.")
          .field("server_name", &UpstreamTls::server_name, "SNI, and the name to verify.",
                 {.form = Form::HostName, .computed_default = "the address's host"})
          .field("spiffe_id", &UpstreamTls::spiffe_id,
                 "Verify this SPIFFE id, or trust domain, instead of a name.",
                 {.form = Form::SpiffeId})
          .field("ca_file", &UpstreamTls::ca_file, "Trusted certificates, PEM.",
                 {.form = Form::AbsolutePath,
                  .computed_default = "identity.trust_bundle_file, else the system's"})
          .field("use_identity", &UpstreamTls::use_identity,
                 "Present our own certificate when there is an `identity`.")
          .field("min_version", &UpstreamTls::min_version, "Oldest version of TLS.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Retry>() {
  static const TableSchema schema =
      TableBuilder<Retry>("Retry",
                          "What may have been processed is repeated only for idempotent methods.")
          .field("attempts", &Retry::attempts, "Further tries after the first.", {.max = 10})
          .field("on", &Retry::on, "What leads to another try.")
          .field("per_try_timeout", &Retry::per_try_timeout, "Limit of one try.",
                 {.min = 1, .planned = true})
          .field("backoff_base", &Retry::backoff_base,
                 "First wait; doubled each time, fully jittered.", {.planned = true})
          .field("backoff_max", &Retry::backoff_max, "Longest wait.", {.planned = true})
          .field("budget_ratio", &Retry::budget_ratio,
                 "Retries as a share of active requests, at most.", {.max = 1, .planned = true})
          .field("budget_per_second", &Retry::budget_per_second, "Retries that are always allowed.",
                 {.planned = true})
          .field("buffer", &Retry::buffer, "Requests with a larger body are not retried.",
                 {.planned = true})
          .field("idempotent_post", &Retry::idempotent_post,
                 "Treat POST and PATCH to this upstream as idempotent.", {.planned = true})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<CircuitBreaker>() {
  static const TableSchema schema =
      TableBuilder<CircuitBreaker>("Circuit breaker", "Beyond a limit: 503 that names the limit.")
          .field("max_connections", &CircuitBreaker::max_connections, "Open connections.",
                 {.min = 1})
          .field("max_pending", &CircuitBreaker::max_pending, "Requests that wait for one.",
                 {.planned = true})
          .field("max_requests", &CircuitBreaker::max_requests, "Requests in flight.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<OutlierDetection>() {
  static const TableSchema schema =
      TableBuilder<OutlierDetection>("Outlier detection",
                                     "Takes failing endpoints out for a while.")
          .field("consecutive_failures", &OutlierDetection::consecutive_failures,
                 "5xx or connection errors in a row; 0 switches it off.")
          .field("base_ejection", &OutlierDetection::base_ejection,
                 "Length of the first ejection, times their number.")
          .field("max_ejection", &OutlierDetection::max_ejection, "Longest ejection.")
          .field("max_ejected", &OutlierDetection::max_ejected,
                 "Share of the endpoints, though always at least one.", {.max = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<UpstreamHealthCheck>() {
  static const TableSchema schema =
      TableBuilder<UpstreamHealthCheck>("Active health check", "Its presence switches it on.")
          .field("path", &UpstreamHealthCheck::path, "Path of the GET.")
          .field("period", &UpstreamHealthCheck::period, "Between checks.", {.min = 100})
          .field("timeout", &UpstreamHealthCheck::timeout, "Of one check.", {.min = 1})
          .field("failure_threshold", &UpstreamHealthCheck::failure_threshold, "Failures in a row.",
                 {.min = 1})
          .field("success_threshold", &UpstreamHealthCheck::success_threshold,
                 "Successes in a row.", {.min = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<UpstreamTimeouts>() {
  static const TableSchema schema =
      TableBuilder<UpstreamTimeouts>("Upstream timeouts", "")
          .field("connect", &UpstreamTimeouts::connect, "Connection, TLS included.", {.min = 1})
          .field("response_headers", &UpstreamTimeouts::response_headers,
                 "From the full request to the response's headers; 0 is off. 504 after it.")
          .field("pool_idle", &UpstreamTimeouts::pool_idle,
                 "Unused connections are closed after it.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Upstream>() {
  static const TableSchema schema =
      TableBuilder<Upstream>("Upstream", "A service that the app calls.")
          .field("address", &Upstream::address, "Endpoints.", {.required = true, .non_empty = true})
          .field(
              "hosts", &Upstream::hosts,
              "What the app calls it: host names that lead here. `*.example.com` takes all names "
              "below example.com that no longer pattern takes, `*` every name that is left.",
              {.form = Form::HostPattern, .computed_default = "[name]"})
          .field("protocol", &Upstream::protocol, "What the endpoints speak.")
          .field("tls", &Upstream::tls, "TLS to the endpoints.")
          .field("retry", &Upstream::retry, "Retries.")
          .field("timeouts", &Upstream::timeouts, "Timeouts.")
          .field("load_balancing", &Upstream::load_balancing, "How an endpoint is chosen.")
          .field("circuit_breaker", &Upstream::circuit_breaker, "Limits.")
          .field("outlier_detection", &Upstream::outlier_detection, "Passive health.",
                 {.planned = true})
          .field("health_check", &Upstream::health_check, "Active health.", {.planned = true})
          .finish([](Reader&, const Node& node, Upstream& upstream) {
            if (node.find("hosts") == nullptr) upstream.hosts = {upstream.name};
          })
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<Identity>() {
  static const TableSchema schema =
      TableBuilder<Identity>(
          "Identity",
          "Our certificate. Replacing the files rotates it; the last good set is "
          "kept.")
          .field("certificate_file", &Identity::certificate_file, "Chain, PEM.", kRequiredPath)
          .field("key_file", &Identity::key_file, "Private key, PEM.", kRequiredPath)
          .field("trust_bundle_file", &Identity::trust_bundle_file, "Trusted peers' CAs, PEM.",
                 kRequiredPath)
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyLimits>() {
  static const TableSchema schema =
      TableBuilder<ProxyLimits>("Proxy limits", "")
          .field("header_size", &ProxyLimits::header_size, "All headers of a message; 431.",
                 {.min = 1024, .max = 1 << 20})
          .field("header_count", &ProxyLimits::header_count, "Header fields; 431.",
                 {.min = 1, .max = 1000})
          .field("body_size", &ProxyLimits::body_size, "Request body; 413.",
                 {.computed_default = "unlimited, since bodies are streamed"})
          .field("inspected_body_size", &ProxyLimits::inspected_body_size,
                 "Body that a rule looks at, hence held in memory; 413.")
          .field("connection_buffer", &ProxyLimits::connection_buffer,
                 "What a connection reads at a time, per direction; while it cannot be passed on, "
                 "nothing more is "
                 "read. Taken at the start.",
                 {.min = 4096, .max = 16 << 20})
          .field("max_connections", &ProxyLimits::max_connections, "From clients.", {.min = 1})
          .field("max_requests_per_connection", &ProxyLimits::max_requests_per_connection,
                 "0 is unlimited.")
          .field("max_streams", &ProxyLimits::max_streams, "HTTP/2 streams of a connection.",
                 {.min = 1})
          .field("max_hops", &ProxyLimits::max_hops,
                 "How often a request may pass this proxy before it is a loop; 508.", {.min = 1})
          .field("max_udp_sessions", &ProxyLimits::max_udp_sessions,
                 "Clients that exchange datagrams at a time, per worker; those beyond are dropped.",
                 {.min = 1, .max = 1'000'000})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyTimeouts>() {
  static const TableSchema schema =
      TableBuilder<ProxyTimeouts>("Proxy timeouts", "")
          .field("tls_handshake", &ProxyTimeouts::tls_handshake, "Of clients.", {.min = 1})
          .field("request_headers", &ProxyTimeouts::request_headers,
                 "From the first byte to the last header; 408.")
          .field("app_connect", &ProxyTimeouts::app_connect, "Connection to the app; 503.")
          .field("app_pool_idle", &ProxyTimeouts::app_pool_idle,
                 "Unused connections to the app; keep it below the app's own keep-alive.")
          .field("response_headers", &ProxyTimeouts::response_headers,
                 "Of the app and of destinations without a declared upstream; 0 is off. 504.")
          .field("stream_idle", &ProxyTimeouts::stream_idle, "No byte either way in an exchange.")
          .field("connection_idle", &ProxyTimeouts::connection_idle,
                 "A client's connection without a request.")
          .field("tcp_idle", &ProxyTimeouts::tcp_idle, "No byte either way in a TCP relay.")
          .field("half_closed", &ProxyTimeouts::half_closed, "One side has closed.")
          .field("delayed_close", &ProxyTimeouts::delayed_close,
                 "Wait for the client to read an error before closing.")
          .field("tcp_keepalive", &ProxyTimeouts::tcp_keepalive, "Between keep-alive probes.")
          .field("tcp_user", &ProxyTimeouts::tcp_user,
                 "Unacknowledged data: the peer is taken for dead.")
          .field("udp_idle", &ProxyTimeouts::udp_idle,
                 "A client without a datagram either way is forgotten.", {.min = 100})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<AccessLog>() {
  static const TableSchema schema =
      TableBuilder<AccessLog>("Access log", "One record per exchange.")
          .field("enabled", &AccessLog::enabled, "Whether it is written.")
          .field("path", &AccessLog::path, "Where it goes.", {.form = Form::LogTarget})
          .field("format", &AccessLog::format, "One JSON object per line, or text for people.")
          .field("buffer", &AccessLog::buffer,
                 "Per worker; records beyond it are dropped and counted.", {.min = 4096})
          .field("flush_interval", &AccessLog::flush_interval, "Longest stay in the buffer.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyListen>() {
  static const TableSchema schema =
      TableBuilder<ProxyListen>("Listener", "")
          .field("listen", &ProxyListen::listen, "Address to listen on.", {.required = true})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyDrain>() {
  static const TableSchema schema =
      TableBuilder<ProxyDrain>("Drain", "What happens from SIGTERM to exit.")
          .field("minimum", &ProxyDrain::minimum, "Inbound connections are still accepted so long.")
          .field("maximum", &ProxyDrain::maximum, "Then what is left is closed.")
          .field("goaway_grace", &ProxyDrain::goaway_grace, "Between the two GOAWAYs of HTTP/2.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyOverload>() {
  static const TableSchema schema =
      TableBuilder<ProxyOverload>("Overload", "Shares of the memory limit.")
          .field("drain_at", &ProxyOverload::drain_at, "No more keep-alive.", {.max = 1})
          .field("refuse_at", &ProxyOverload::refuse_at, "New requests get 503.", {.max = 1})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ExternalCheck>() {
  static const TableSchema schema =
      TableBuilder<ExternalCheck>("External check",
                                  "A service that is asked by HTTP whether a request may pass: "
                                  "2xx lets it, any other answer goes to the client.")
          .field("upstream", &ExternalCheck::upstream,
                 "Where it is, an upstream that speaks HTTP/1.", {.required = true})
          .field("path", &ExternalCheck::path, "Path of the POST.")
          .field("timeout", &ExternalCheck::timeout, "Until its answer is complete.", {.min = 1})
          .field("send_body", &ExternalCheck::send_body,
                 "Send it the request's body, which is held in memory meanwhile.")
          .field("allow_on_failure", &ExternalCheck::allow_on_failure,
                 "Whether requests pass when it fails; else they get 503.")
          .field("take_headers", &ExternalCheck::take_headers,
                 "Fields of its answer that are set on the request.")
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyRule>() {
  static const TableSchema schema =
      TableBuilder<ProxyRule>("Rule",
                              "What happens to requests of a kind, [rule.NAME]. Rules are asked in "
                              "the order of the file; every condition that is given must hold, one "
                              "element of a list is enough. What no rule denies passes.")
          .field("side", &ProxyRule::side, "Requests to the app, or of the app.")
          .field("ports", &ProxyRule::ports, "Ports of the app; inbound only.")
          .field("peers", &ProxyRule::peers, "SPIFFE ids or trust domains of verified clients.",
                 {.form = Form::SpiffeId})
          .field("methods", &ProxyRule::methods, "Such as \"GET\"; case matters.")
          .field(
              "hosts", &ProxyRule::hosts,
              "Of the request, without the port; `*.example.com` is every name below example.com.",
              {.form = Form::HostPattern})
          .field("paths", &ProxyRule::paths,
                 "\"/exact\", or \"/prefix/*\", without the query; compared after dot segments and "
                 "escapes are resolved.")
          .field("content_types", &ProxyRule::content_types, "Such as \"text/*\".")
          .field("body_larger_than", &ProxyRule::body_larger_than, "Of the request.")
          .field("body_matches", &ProxyRule::body_matches,
                 "Regular expression (PCRE2) that is found in the body.", {.form = Form::Regex})
          .field("json_pointer", &ProxyRule::json_pointer,
                 "Place in a JSON body that must be there, such as \"/user/role\" (RFC 6901).")
          .field("json_matches", &ProxyRule::json_matches,
                 "Regular expression that is found in the value at `json_pointer`.",
                 {.form = Form::Regex})
          .field("set_headers", &ProxyRule::set_headers,
                 "Set on the request; \"$1\" is what the first group of the expression matched, "
                 "\"$0\" all of it, or the value at `json_pointer`.")
          .field("upstream", &ProxyRule::upstream, "The request goes there.")
          .field("check", &ProxyRule::check, "Asked when all conditions hold.")
          .field("action", &ProxyRule::action,
                 "Then: go on with the next rule, let the request pass, or answer `status`.")
          .field("status", &ProxyRule::status, "Of `deny`.", {.min = 400, .max = 599})
          .done();
  return schema;
}

template<>
const TableSchema& schema_of<ProxyConfig>() {
  static const TableSchema schema =
      TableBuilder<ProxyConfig>("Proxy", "The table of a child with `use = \"proxy\"`.")
          .field("service", &ProxyConfig::service, "Filled in by the supervisor.")
          .field("workers", &ProxyConfig::workers, "Threads.", {.min = 1, .max = 256})
          .field("via", &ProxyConfig::via, "Our pseudonym in `Via`.", {.non_empty = true})
          .field("inbound", &ProxyConfig::inbound, "Traffic to the app.")
          .field("outbound", &ProxyConfig::outbound, "The app's traffic to others.")
          .field("explicit", &ProxyConfig::explicit_listeners,
                 "Local addresses that the app calls knowingly.")
          .named("upstream", &ProxyConfig::upstreams, "Services that the app calls.")
          .named("rule", &ProxyConfig::rules, "What happens to requests of a kind.")
          .field("identity", &ProxyConfig::identity, "Our certificate.")
          .field("limits", &ProxyConfig::limits, "Limits.")
          .field("timeouts", &ProxyConfig::timeouts, "Timeouts.")
          .field("access_log", &ProxyConfig::access_log, "Access log.")
          .field("health", &ProxyConfig::health, "Health, for probes and load balancers.")
          .field("prometheus", &ProxyConfig::prometheus, "Metrics as Prometheus text.")
          .field("admin", &ProxyConfig::admin, "Administration; loopback only.")
          .field("dns", &ProxyConfig::dns, "DNS, with [network.intercept] dns.")
          .field("drain", &ProxyConfig::drain, "Drain.")
          .field("overload", &ProxyConfig::overload, "Shedding before memory runs out.")
          .finish(check_proxy)
          .done();
  return schema;
}

}  // namespace pillion::config
