// The running metrics adapter: sources, the endpoint that is scraped, pushes, admin, reload and the
// end.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/metrics/make_sources.h"
#include "adapters/metrics/model/exposition_text.h"
#include "adapters/metrics/output/otlp_push.h"
#include "adapters/metrics/source.h"
#include "config/metrics.h"
#include "runtime/component.h"
#include "runtime/http_client.h"
#include "runtime/http_server.h"
#include "runtime/listeners.h"
#include "runtime/loop.h"

namespace pillion::metrics {

class Adapter {
 public:
  // Loads the configuration again, for SIGHUP; an error keeps the old one.
  using Reload = std::function<Result<config::MetricsConfig>()>;

  Adapter(Loop& loop, const Clock& clock, config::MetricsConfig config, Reload reload);
  ~Adapter();

  // Opens inputs and endpoints. An error is about an address or a path to listen on.
  Result<void> start(InheritedListeners listeners);
  // Runs until drained.
  void run();

 private:
  Result<void> open_endpoints();
  Result<std::unique_ptr<Source>> make_one(const config::MetricsConfig& config, std::size_t index,
                                           StatsdServer::Sockets sockets);
  void make_outputs();
  void add_routes(HttpServer& server);
  Merge collect();
  std::shared_ptr<const Families> own_families() const;
  HttpServerResponse scrape(const HttpServerRequest& request);
  std::string health_text();
  std::string sources_json() const;
  void reload();
  Result<void> apply(config::MetricsConfig next);
  StatsdServer::Sockets share_sockets(const config::StatsdInput& wanted);
  void adopt(config::MetricsConfig next, std::vector<std::unique_ptr<Source>> sources);
  void tick();
  void begin_drain();
  void end();

  Loop& loop_;
  const Clock& clock_;
  config::MetricsConfig config_;
  Reload reload_;
  Component component_;
  InheritedListeners listeners_;
  HttpClient client_;
  SeriesBudget budget_;
  std::vector<std::unique_ptr<Source>> sources_;  // in the configuration's order
  std::vector<std::unique_ptr<OtlpPush>> outputs_;
  std::optional<HttpServer> scraped_;
  std::optional<HttpServer> admin_;
  Timer tick_;
  std::size_t finishing_ = 0;  // outputs
  std::uint64_t scrapes_ = 0;
  std::uint64_t samples_before_ = 0;  // of sources that a reload replaced
  std::uint64_t refused_before_ = 0;
  std::uint64_t points_before_ = 0;
  std::vector<std::string> conflicts_;  // of the last merge
  std::size_t left_out_ = 0;
};

}  // namespace pillion::metrics
