// The table of a child with use = "metrics": legacy metrics in, Prometheus text out.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/logs.h"
#include "config/units.h"

namespace pillion::config {

// Exactly one is set.
struct MetricsInput {
  std::optional<SocketAddress> statsd;       // UDP listener
  std::optional<std::string> json;           // URL polled
  std::optional<std::string> prometheus;     // URL polled
  std::optional<HostPort> redis;             // INFO
  std::optional<std::string> nginx_status;   // URL of stub_status
  std::optional<std::string> haproxy_stats;  // URL of the CSV
  std::string prefix;
  std::map<std::string, std::string> labels;
  std::chrono::milliseconds period{15'000};
  std::chrono::milliseconds timeout{5'000};
  bool operator==(const MetricsInput&) const = default;
};

struct MetricsConfig {
  std::string service;  // filled in by the supervisor
  SocketAddress listen = SocketAddress::of("127.0.0.1:9102");
  std::vector<MetricsInput> inputs;  // key `input`
  unsigned max_series = 10'000;
  ComponentAdmin admin;
  bool operator==(const MetricsConfig&) const = default;
};

}  // namespace pillion::config
