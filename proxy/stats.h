// Counters of one worker. Only the worker writes them; the admin thread reads them while it does,
// so they are atomics without read-modify-write: plain stores on the hot path, no lock prefix.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

namespace pillion {
class MetricsWriter;
}

namespace pillion::proxy {

class Count {
 public:
  void add(std::uint64_t by = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t by = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - by, std::memory_order_relaxed);
  }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

enum class Direction : std::uint8_t { Inbound, Outbound };
std::string_view direction_name(Direction direction);

// Why an exchange or a connection did not go well: Envoy's response flags, for the dashboards that
// know them.
enum class Flag : std::uint8_t {
  None,
  DownstreamClosed,         // DC: the client went away
  DownstreamProtocolError,  // DPE
  DownstreamTlsFailure,     // DTF: no TLS, or not with a certificate that we accept
  RequestTimeout,           // DT: the client was too slow
  LimitExceeded,            // LE: head or body beyond a limit
  Refused,                  // RF: CONNECT, a direct hit on the capture listener, an unknown target
  LoopDetected,             // LOOP
  NoRoute,                  // NR
  NoEndpoint,               // UH: no address, or the name does not resolve
  UpstreamConnectFailure,   // UF
  UpstreamTermination,      // UC: closed or reset before the response was complete
  UpstreamProtocolError,    // UPE
  UpstreamTimeout,          // UT
  UpstreamOverflow,         // UO: a circuit breaker's limit
  Overload,                 // OM: too many connections
  Drained,                  // DR: closed at the drain's deadline
  Count
};
std::string_view flag_name(Flag flag);

inline constexpr std::array<std::int64_t, 14> kDurationBoundsNs = {
    250'000,     500'000,       1'000'000,     2'500'000,     5'000'000,
    10'000'000,  25'000'000,    50'000'000,    100'000'000,   250'000'000,
    500'000'000, 1'000'000'000, 2'500'000'000, 10'000'000'000};

// How long it took until a connection's protocol was known, where it is not declared.
struct DetectionTimes {
  static constexpr std::array<std::int64_t, 7> kBoundsNs = {
      1'000'000, 5'000'000, 25'000'000, 100'000'000, 500'000'000, 2'500'000'000, 10'000'000'000};

  std::array<Count, kBoundsNs.size() + 1> counts;
  Count ns_sum;

  void observe(std::int64_t nanoseconds);
};

// What it was found to be. On a permissive port: TLS, or anything in plain text.
enum class DetectedAs : std::uint8_t { Http, Tls, Tcp, Plain, Count };
std::string_view detected_name(DetectedAs detected);

// What is counted per direction and upstream.
struct RouteStats {
  Direction direction = Direction::Inbound;
  std::string upstream;
  std::array<Count, 6> responses;  // by hundreds; [0] nothing was answered
  std::array<Count, kDurationBoundsNs.size() + 1> durations;
  Count duration_ns_sum;
  Count bytes_received;
  Count bytes_sent;
  Count retries;
  std::array<Count, static_cast<std::size_t>(Flag::Count)> flags;
  Count active;
  Count connections_made;
  Count connect_failures;
  Count connections_reused;

  void observe_duration(std::int64_t nanoseconds);
};

class WorkerStats {
 public:
  // Made once per direction and upstream, kept for the life of the worker. Worker thread only.
  RouteStats& route(Direction direction, std::string_view upstream);

  std::array<Count, 2> connections_active;    // downstream, by direction
  std::array<Count, 2> connections_accepted;  // downstream, by direction
  std::array<Count, 2> tcp_active;
  Count connections_refused;
  Count upstream_idle;
  Count nominations_ignored;
  std::array<Count, 2> exchanges_finished;  // by direction
  std::array<Count, 2> exchanges_aborted;
  std::array<Count, 2> tcp_finished;
  std::array<Count, 2> tcp_aborted;
  Count tls_handshakes;  // with clients
  Count tls_resumed;
  Count tls_failures;
  Count tls_plain;  // plain text on a permissive port
  // By kind of the listener (ListenerKind) and by what was found.
  std::array<std::array<DetectionTimes, static_cast<std::size_t>(DetectedAs::Count)>, 4> detections;
  Count detections_http;
  Count detections_tcp;
  Count udp_active;  // sessions
  Count udp_sessions_refused;
  Count udp_received;  // datagrams from clients
  Count udp_forwarded;
  Count udp_answered;
  Count udp_dropped;
  Count udp_unreachable;  // ICMP errors

  const std::deque<RouteStats>& routes() const { return routes_; }
  // Any thread: the deque only grows, under this lock.
  std::mutex& routes_mutex() const { return mutex_; }

 private:
  mutable std::mutex mutex_;
  std::deque<RouteStats> routes_;
};

}  // namespace pillion::proxy
