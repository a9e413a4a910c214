// Metrics over HTTP: the service's own and those that its children serve, merged into one
// exposition with labels `service` and `child`. GET /v1/metrics of the control API, and, where the
// file says `metrics = "ADDRESS"`, /metrics, /ready and /health there. A child that does not
// answer in time, or answers rubbish, shows in pillion_scrape_up and costs the others nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/service.h"
#include "runtime/exposition.h"
#include "runtime/http_server.h"
#include "runtime/loop.h"
#include "supervisor/control/api.h"
#include "supervisor/host/keeper_client.h"
#include "supervisor/host/metrics_endpoints.h"
#include "supervisor/host/metrics_fetch.h"

namespace pillion::supervisor::host {

class Supervisor;

// The listening socket of `metrics`: the keeper's, or a new one; empty without that key. An error
// names who holds the port.
Result<std::optional<Fd>> open_metrics_listener(KeeperClient& keeper,
                                                const config::ServiceSettings& settings);

class MetricsApi {
 public:
  // Adds its route to `api`. `supervisor` must outlive it.
  MetricsApi(Loop& loop, control::Api& api, Supervisor& supervisor, std::optional<Fd> listener);
  MetricsApi(const MetricsApi&) = delete;
  MetricsApi& operator=(const MetricsApi&) = delete;

 private:
  using OnText = std::function<void(const std::string&)>;
  struct Scrape {
    std::string child;
    std::unique_ptr<MetricsFetch> fetch;
    MonotonicTime started{};
    bool is_up = false;
    double seconds = 0;
    MergedExposition::Added added;
  };
  // One round for everybody who asks while it goes on.
  struct Round {
    MergedExposition merged;
    std::vector<Scrape> scrapes;
    std::size_t pending = 0;
    std::vector<OnText> waiting;
  };

  void add_pages();
  void gather(OnText on_text);
  void begin_round();
  void on_fetched(std::size_t index, Result<std::string> body);
  void finish_round();
  std::string describe_scrapes() const;

  Loop& loop_;
  Supervisor& supervisor_;
  SystemClock clock_;
  std::unique_ptr<Round> round_;
  std::optional<HttpServer> server_;
};

}  // namespace pillion::supervisor::host
