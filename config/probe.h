// Probes, gates and hooks: how a child shows that it has started, is ready and lives, what runs
// after its start and before its stop, and where its metrics are. Defaults are Kubernetes'.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/names.h"
#include "config/units.h"

namespace pillion::config {

enum class HttpScheme { Http, Https };
PILLION_NAMES(HttpScheme, {HttpScheme::Http, "http"}, {HttpScheme::Https, "https"});

// GET inside the service's network namespace, straight to the child; 200–399 succeed. Used by
// probes and hooks.
struct HttpAction {
  std::string path = "/";
  std::optional<PortRef> port;  // set after loading
  HttpScheme scheme = HttpScheme::Http;
  std::optional<IpAddress> address;  // default 127.0.0.1
  std::map<std::string, std::string> headers;
  bool operator==(const HttpAction&) const = default;
};

struct TcpAction {
  std::optional<PortRef> port;  // set after loading
  std::optional<IpAddress> address;
  bool operator==(const TcpAction&) const = default;
};

struct ExecAction {
  std::vector<std::string> command;
  bool operator==(const ExecAction&) const = default;
};

// grpc.health.v1.Health/Check
struct GrpcAction {
  std::optional<PortRef> port;  // set after loading
  std::string service;
  bool operator==(const GrpcAction&) const = default;
};

// Exactly one of http, tcp, exec, grpc is set.
struct Probe {
  std::optional<HttpAction> http;
  std::optional<TcpAction> tcp;
  std::optional<ExecAction> exec;
  std::optional<GrpcAction> grpc;
  std::chrono::milliseconds initial_delay{0};
  std::chrono::milliseconds period{10'000};
  std::chrono::milliseconds timeout{1'000};
  unsigned success_threshold = 1;  // 1 for startup and liveness
  unsigned failure_threshold = 3;
  // Liveness and startup: grace of the kill, instead of the service's stop_grace.
  std::optional<std::chrono::milliseconds> termination_grace;
  bool operator==(const Probe&) const = default;
};

// What must happen before the child counts as started, beside exec and post_start. At most one is
// set. None set: the startup probe when there is one, else nothing. Components of ours always use
// notify.
struct Gate {
  bool notify = false;                      // READY=1 on $NOTIFY_SOCKET
  std::optional<unsigned> notification_fd;  // a newline on this descriptor (s6)
  std::optional<std::string> log_line;      // a regular expression that a line of output matches
  std::optional<std::string> file;          // an absolute path that comes to exist
  bool operator==(const Gate&) const = default;
};

// Where a child serves its own metrics in Prometheus' text format; they join the service's.
struct Scrape {
  std::optional<PortRef> port;  // set after loading
  std::string path = "/metrics";
  std::optional<IpAddress> address;  // default 127.0.0.1
  bool operator==(const Scrape&) const = default;
};

// Exactly one of exec, http, sleep is set.
struct Hook {
  std::optional<ExecAction> exec;
  std::optional<HttpAction> http;
  std::optional<std::chrono::milliseconds> sleep;
  std::chrono::milliseconds timeout{30'000};  // pre_stop: never beyond the stop's deadline
  bool operator==(const Hook&) const = default;
};

}  // namespace pillion::config
