// The workers' counters as Prometheus text; called on the admin thread.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "proxy/admin.h"
#include "proxy/server.h"
#include "runtime/metrics.h"

namespace pillion::proxy {
namespace {

using RouteKey = std::pair<Direction, std::string>;
using RouteGroups = std::map<RouteKey, std::vector<const RouteStats*>>;

// The same route of all workers together.
RouteGroups group_routes(const Server& server) {
  RouteGroups groups;
  for (const auto& worker : server.workers()) {
    const std::lock_guard lock(worker->stats().routes_mutex());
    for (const RouteStats& route : worker->stats().routes()) {
      groups[{route.direction, route.upstream}].push_back(&route);
    }
  }
  return groups;
}

Labels route_labels(const RouteKey& key) {
  return {{"direction", std::string(direction_name(key.first))}, {"upstream", key.second}};
}

std::uint64_t sum_of(const std::vector<const RouteStats*>& routes,
                     const std::function<std::uint64_t(const RouteStats&)>& value) {
  std::uint64_t sum = 0;
  for (const RouteStats* route : routes) sum += value(*route);
  return sum;
}

void write_route_family(MetricsWriter& writer, const RouteGroups& groups, std::string_view name,
                        MetricType type, std::string_view help, Count RouteStats::*member) {
  writer.begin_family(name, type, help);
  for (const auto& [key, routes] : groups) {
    writer.sample(route_labels(key),
                  sum_of(routes, [&](const RouteStats& one) { return (one.*member).value(); }));
  }
}

void write_requests(MetricsWriter& writer, const RouteGroups& groups) {
  writer.begin_family("pillion_proxy_requests_total", MetricType::Counter,
                      "Requests answered, by class of the status code (0xx: nothing answered).");
  for (const auto& [key, routes] : groups) {
    for (std::size_t i = 0; i < 6; ++i) {
      const std::uint64_t count =
          sum_of(routes, [&](const RouteStats& one) { return one.responses[i].value(); });
      if (count == 0) continue;
      Labels labels = route_labels(key);
      labels.emplace_back("code_class", fmt::format("{}xx", i));
      writer.sample(labels, count);
    }
  }
  writer.begin_family("pillion_proxy_request_flags_total", MetricType::Counter,
                      "Requests and connections that failed, by response flag.");
  for (const auto& [key, routes] : groups) {
    for (std::size_t i = 1; i < static_cast<std::size_t>(Flag::Count); ++i) {
      const std::uint64_t count =
          sum_of(routes, [&](const RouteStats& one) { return one.flags[i].value(); });
      if (count == 0) continue;
      Labels labels = route_labels(key);
      labels.emplace_back("flag", std::string(flag_name(static_cast<Flag>(i))));
      writer.sample(labels, count);
    }
  }
}

void write_durations(MetricsWriter& writer, const RouteGroups& groups) {
  std::vector<double> bounds;
  for (const std::int64_t bound : kDurationBoundsNs) {
    bounds.push_back(static_cast<double>(bound) / 1e9);
  }
  writer.begin_family("pillion_proxy_request_duration_seconds", MetricType::Histogram,
                      "From the request's first byte to the response's last.");
  for (const auto& [key, routes] : groups) {
    std::vector<std::uint64_t> counts;
    for (std::size_t i = 0; i <= kDurationBoundsNs.size(); ++i) {
      counts.push_back(
          sum_of(routes, [&](const RouteStats& one) { return one.durations[i].value(); }));
    }
    const std::uint64_t sum =
        sum_of(routes, [](const RouteStats& one) { return one.duration_ns_sum.value(); });
    writer.histogram(route_labels(key), bounds, counts, static_cast<double>(sum) / 1e9);
  }
}

// Only what occurred.
void write_detections(MetricsWriter& writer, const Server& server) {
  constexpr std::string_view kListeners[] = {"inbound", "publish", "outbound", "explicit"};
  std::vector<double> bounds;
  for (const std::int64_t bound : DetectionTimes::kBoundsNs) {
    bounds.push_back(static_cast<double>(bound) / 1e9);
  }
  writer.begin_family("pillion_proxy_detection_seconds", MetricType::Histogram,
                      "From a connection's begin until its protocol was known, where none is "
                      "declared.");
  for (std::size_t kind = 0; kind < std::size(kListeners); ++kind) {
    for (std::size_t as = 0; as < static_cast<std::size_t>(DetectedAs::Count); ++as) {
      std::vector<std::uint64_t> counts(bounds.size() + 1);
      std::uint64_t sum = 0;
      std::uint64_t total = 0;
      for (const auto& worker : server.workers()) {
        const DetectionTimes& times = worker->stats().detections[kind][as];
        for (std::size_t i = 0; i < counts.size(); ++i) {
          counts[i] += times.counts[i].value();
          total += times.counts[i].value();
        }
        sum += times.ns_sum.value();
      }
      if (total == 0) continue;
      writer.histogram({{"listener", std::string(kListeners[kind])},
                        {"detected", std::string(detected_name(static_cast<DetectedAs>(as)))}},
                       bounds, counts, static_cast<double>(sum) / 1e9);
    }
  }
}

void write_by_direction(MetricsWriter& writer, const Server& server, std::string_view name,
                        MetricType type, std::string_view help,
                        std::array<Count, 2> WorkerStats::*member) {
  writer.begin_family(name, type, help);
  for (std::size_t direction = 0; direction < 2; ++direction) {
    std::uint64_t sum = 0;
    for (const auto& worker : server.workers()) sum += (worker->stats().*member)[direction].value();
    writer.sample({{"direction", std::string(direction_name(static_cast<Direction>(direction)))}},
                  sum);
  }
}

void write_plain(MetricsWriter& writer, const Server& server, std::string_view name,
                 MetricType type, std::string_view help, Count WorkerStats::*member) {
  writer.begin_family(name, type, help);
  std::uint64_t sum = 0;
  for (const auto& worker : server.workers()) sum += (worker->stats().*member).value();
  writer.sample({}, sum);
}

void write_routes(MetricsWriter& writer, const RouteGroups& groups) {
  write_requests(writer, groups);
  write_durations(writer, groups);
  write_route_family(writer, groups, "pillion_proxy_requests_active", MetricType::Gauge,
                     "Requests and TCP connections under way.", &RouteStats::active);
  write_route_family(writer, groups, "pillion_proxy_received_bytes_total", MetricType::Counter,
                     "Body bytes received from downstream.", &RouteStats::bytes_received);
  write_route_family(writer, groups, "pillion_proxy_sent_bytes_total", MetricType::Counter,
                     "Body bytes sent downstream.", &RouteStats::bytes_sent);
  write_route_family(writer, groups, "pillion_proxy_retries_total", MetricType::Counter,
                     "Further attempts for a request.", &RouteStats::retries);
  write_route_family(writer, groups, "pillion_proxy_upstream_connections_total",
                     MetricType::Counter, "Connections made.", &RouteStats::connections_made);
  write_route_family(writer, groups, "pillion_proxy_upstream_connections_reused_total",
                     MetricType::Counter, "Requests served on a pooled connection.",
                     &RouteStats::connections_reused);
  write_route_family(writer, groups, "pillion_proxy_upstream_connect_failures_total",
                     MetricType::Counter, "Connections that could not be made.",
                     &RouteStats::connect_failures);
}

void write_workers(MetricsWriter& writer, const Server& server) {
  write_by_direction(writer, server, "pillion_proxy_connections_active", MetricType::Gauge,
                     "Downstream connections.", &WorkerStats::connections_active);
  write_by_direction(writer, server, "pillion_proxy_connections_total", MetricType::Counter,
                     "Downstream connections accepted.", &WorkerStats::connections_accepted);
  write_by_direction(writer, server, "pillion_proxy_tcp_active", MetricType::Gauge,
                     "TCP connections relayed or being detected.", &WorkerStats::tcp_active);
  write_by_direction(writer, server, "pillion_proxy_tcp_finished_total", MetricType::Counter,
                     "TCP connections that ended by themselves.", &WorkerStats::tcp_finished);
  write_plain(writer, server, "pillion_proxy_connections_refused_total", MetricType::Counter,
              "Connections closed at once.", &WorkerStats::connections_refused);
  write_plain(writer, server, "pillion_proxy_upstream_connections_idle", MetricType::Gauge,
              "Pooled connections.", &WorkerStats::upstream_idle);
  write_plain(writer, server, "pillion_proxy_nominations_ignored_total", MetricType::Counter,
              "Connection options that named a protected field.",
              &WorkerStats::nominations_ignored);
  write_plain(writer, server, "pillion_proxy_tls_handshakes_total", MetricType::Counter,
              "TLS handshakes with clients that succeeded.", &WorkerStats::tls_handshakes);
  write_plain(writer, server, "pillion_proxy_tls_resumed_total", MetricType::Counter,
              "Of them, those that resumed a session.", &WorkerStats::tls_resumed);
  write_plain(writer, server, "pillion_proxy_tls_failures_total", MetricType::Counter,
              "TLS handshakes with clients that failed.", &WorkerStats::tls_failures);
  write_plain(writer, server, "pillion_proxy_tls_plain_total", MetricType::Counter,
              "Plain-text connections on permissive ports.", &WorkerStats::tls_plain);
  write_plain(writer, server, "pillion_proxy_detected_http_total", MetricType::Counter,
              "Connections detected as HTTP.", &WorkerStats::detections_http);
  write_plain(writer, server, "pillion_proxy_detected_tcp_total", MetricType::Counter,
              "Connections detected as plain TCP.", &WorkerStats::detections_tcp);
}

std::uint64_t sum_of_workers(const Server& server, Count WorkerStats::*member) {
  std::uint64_t sum = 0;
  for (const auto& worker : server.workers()) sum += (worker->stats().*member).value();
  return sum;
}

// Only where datagrams are forwarded.
void write_udp(MetricsWriter& writer, const Server& server) {
  if (!server.forwards_datagrams()) return;
  write_plain(writer, server, "pillion_proxy_udp_sessions_active", MetricType::Gauge,
              "Clients that exchange datagrams.", &WorkerStats::udp_active);
  write_plain(writer, server, "pillion_proxy_udp_sessions_refused_total", MetricType::Counter,
              "Datagrams of clients beyond limits.max_udp_sessions.",
              &WorkerStats::udp_sessions_refused);
  writer.begin_family("pillion_proxy_udp_datagrams_total", MetricType::Counter,
                      "Datagrams passed on, by whom they went to.");
  writer.sample({{"to", "upstream"}}, sum_of_workers(server, &WorkerStats::udp_forwarded));
  writer.sample({{"to", "client"}}, sum_of_workers(server, &WorkerStats::udp_answered));
  write_plain(writer, server, "pillion_proxy_udp_dropped_total", MetricType::Counter,
              "Datagrams that went nowhere.", &WorkerStats::udp_dropped);
  write_plain(writer, server, "pillion_proxy_udp_unreachable_total", MetricType::Counter,
              "Times that the other side of a session was not there.",
              &WorkerStats::udp_unreachable);
}

void write_server(MetricsWriter& writer, const Server& server) {
  writer.begin_family("pillion_proxy_ready", MetricType::Gauge, "1 while ready.");
  writer.sample({}, std::uint64_t{server.status().is_ready() ? 1u : 0u});
  writer.begin_family("pillion_proxy_overload_level", MetricType::Gauge,
                      "0 normal, 1 no keep-alive, 2 requests are refused, 3 connections are.");
  writer.sample({}, static_cast<std::uint64_t>(server.status().overload.load()));
  writer.begin_family("pillion_proxy_reloads_total", MetricType::Counter,
                      "Configuration reloads, by result.");
  writer.sample({{"result", "accepted"}}, server.status().reloads_accepted.load());
  writer.sample({{"result", "rejected"}}, server.status().reloads_rejected.load());
  writer.begin_family("pillion_proxy_certificate_rotations_total", MetricType::Counter,
                      "Certificates loaded anew, by result.");
  writer.sample({{"result", "accepted"}}, server.status().tls_rotations.load());
  writer.sample({{"result", "rejected"}}, server.status().tls_rotations_failed.load());
  const TlsPointer tls = server.tls();
  if (!tls->certificates.empty()) {
    writer.begin_family("pillion_proxy_certificate_expiry_timestamp_seconds", MetricType::Gauge,
                        "When a certificate in use ends, in seconds since 1970.");
    for (const CertificateInfo& one : tls->certificates) {
      writer.sample({{"use", one.use}, {"serial", one.serial}},
                    static_cast<std::uint64_t>(std::max<std::int64_t>(one.not_after, 0)));
    }
  }
  if (server.access_log() != nullptr) {
    writer.begin_family("pillion_proxy_access_log_dropped_total", MetricType::Counter,
                        "Access log lines that did not fit the buffer or could not be written.");
    writer.sample({}, server.access_log()->lines_dropped());
  }
}

void write_dns(MetricsWriter& writer, const Server& server) {
  if (server.dns_forwarder() == nullptr) return;
  const dns::ForwarderStats& stats = server.dns_forwarder()->stats();
  writer.begin_family("pillion_proxy_dns_queries_total", MetricType::Counter,
                      "DNS queries of the app, by what became of them.");
  const std::pair<const char*, const Count*> results[] = {
      {"malformed", &stats.malformed}, {"name", &stats.from_names},
      {"cache", &stats.from_cache},    {"coalesced", &stats.coalesced},
      {"server", &stats.from_servers}, {"no_server", &stats.failed},
      {"overload", &stats.overload}};
  for (const auto& [result, count] : results) writer.sample({{"result", result}}, count->value());
}

}  // namespace

std::string render_metrics(const Server& server) {
  std::string out;
  MetricsWriter writer(out);
  write_routes(writer, group_routes(server));
  write_workers(writer, server);
  write_detections(writer, server);
  write_server(writer, server);
  write_dns(writer, server);
  write_udp(writer, server);
  return out;
}

}  // namespace pillion::proxy
