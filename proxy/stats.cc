#include "proxy/stats.h"

namespace pillion::proxy {
namespace {

// Index of the first bound that is not exceeded.
template<std::size_t size>
std::size_t bucket_of(const std::array<std::int64_t, size>& bounds, std::int64_t value) {
  std::size_t bucket = 0;
  while (bucket < bounds.size() && value > bounds[bucket]) ++bucket;
  return bucket;
}

}  // namespace

std::string_view direction_name(Direction direction) {
  return direction == Direction::Inbound ? "inbound" : "outbound";
}

std::string_view flag_name(Flag flag) {
  switch (flag) {
    case Flag::None: return "";
    case Flag::DownstreamClosed: return "DC";
    case Flag::DownstreamProtocolError: return "DPE";
    case Flag::DownstreamTlsFailure: return "DTF";
    case Flag::RequestTimeout: return "DT";
    case Flag::LimitExceeded: return "LE";
    case Flag::Refused: return "RF";
    case Flag::LoopDetected: return "LOOP";
    case Flag::NoRoute: return "NR";
    case Flag::NoEndpoint: return "UH";
    case Flag::UpstreamConnectFailure: return "UF";
    case Flag::UpstreamTermination: return "UC";
    case Flag::UpstreamProtocolError: return "UPE";
    case Flag::UpstreamTimeout: return "UT";
    case Flag::UpstreamOverflow: return "UO";
    case Flag::Overload: return "OM";
    case Flag::Drained: return "DR";
    case Flag::Count: break;
  }
  return "";
}

std::string_view detected_name(DetectedAs detected) {
  switch (detected) {
    case DetectedAs::Http: return "http";
    case DetectedAs::Tls: return "tls";
    case DetectedAs::Tcp: return "tcp";
    case DetectedAs::Plain: return "plain";
    case DetectedAs::Count: break;
  }
  return "";
}

void DetectionTimes::observe(std::int64_t nanoseconds) {
  counts[bucket_of(kBoundsNs, nanoseconds)].add();
  ns_sum.add(static_cast<std::uint64_t>(nanoseconds));
}

void RouteStats::observe_duration(std::int64_t nanoseconds) {
  durations[bucket_of(kDurationBoundsNs, nanoseconds)].add();
  duration_ns_sum.add(static_cast<std::uint64_t>(nanoseconds));
}

RouteStats& WorkerStats::route(Direction direction, std::string_view upstream) {
  for (RouteStats& route : routes_) {
    if (route.direction == direction && route.upstream == upstream) return route;
  }
  const std::lock_guard lock(mutex_);
  RouteStats& route = routes_.emplace_back();
  route.direction = direction;
  route.upstream = upstream;
  return route;
}

}  // namespace pillion::proxy
