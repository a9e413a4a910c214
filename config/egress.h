// The table of a child with use = "egress": one outbound API behind a local address.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "config/logs.h"
#include "config/proxy.h"
#include "config/units.h"

namespace pillion::config {

struct RateLimit {
  std::optional<double> requests_per_second;
  std::optional<unsigned> burst;  // default: one second's worth
  std::optional<unsigned> concurrency;
  std::chrono::milliseconds max_wait{5'000};  // 429 to the app after it
  bool operator==(const RateLimit&) const = default;
};

struct BasicAuth {
  std::string user_file;
  std::string password_file;
  bool operator==(const BasicAuth&) const = default;
};

struct HeaderAuth {
  std::string name;
  std::string value_file;
  bool operator==(const HeaderAuth&) const = default;
};

// At most one is set.
struct EgressAuth {
  std::optional<BasicAuth> basic;
  std::optional<std::string> bearer_file;
  std::optional<HeaderAuth> header;
  bool operator==(const EgressAuth&) const = default;
};

struct Region {
  std::string name;
  std::string url;
  bool operator==(const Region&) const = default;
};

struct EgressConfig {
  std::string service;  // filled in by the supervisor
  SocketAddress listen;
  std::vector<Region> regions;  // key `region`; tried in file order
  RateLimit rate_limit;
  EgressAuth auth;
  Retry retry;
  UpstreamTimeouts timeouts;
  std::optional<std::string> ca_file;
  AccessLog access_log;
  ComponentAdmin admin;
  bool operator==(const EgressConfig&) const = default;
};

}  // namespace pillion::config
