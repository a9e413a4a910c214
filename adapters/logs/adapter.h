// The running log adapter: pipelines, what wakes them, reload, admin endpoints, and the end that
// loses nothing.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/logs/follow/directory_watch.h"
#include "adapters/logs/ledger_report.h"
#include "adapters/logs/pipeline.h"
#include "adapters/logs/wiring.h"
#include "config/logs.h"
#include "runtime/component.h"
#include "runtime/http_server.h"
#include "runtime/listeners.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace pillion::logs {

class Adapter {
 public:
  // Loads the configuration again, for SIGHUP; an error keeps the old one.
  using Reload = std::function<Result<config::LogsConfig>()>;

  Adapter(Loop& loop, const Clock& clock, config::LogsConfig config, Reload reload);
  ~Adapter();

  // Opens inputs and endpoints. An error is about an address or a path to listen on.
  Result<void> start(InheritedListeners listeners);
  // Runs until drained: by SIGTERM, or when standard input is the only input and has ended.
  int run();

 private:
  Result<void> start_receivers();
  void start_pipelines();
  void watch_directories();
  void tick();
  void read_stdin();
  void on_stdin(std::string_view bytes);
  void begin_drain();
  void on_pipeline_drained();
  void give_up();
  void report_end();
  void reload();
  void swap_configuration();
  void report_waiting();
  void add_routes();
  void collect_metrics(MetricsWriter& writer) const;
  void collect_receivers(MetricsWriter& writer) const;
  Ledger ledger() const;
  std::vector<OutputLedger> ledgers() const;
  std::string ledger_text() const;
  void collect_inputs(MetricsWriter& writer) const;

  Loop& loop_;
  const Clock& clock_;
  config::LogsConfig config_;
  Reload reload_;
  Surroundings surroundings_;
  Component component_;
  Registry registry_;
  std::optional<HttpServer> server_;
  std::vector<std::unique_ptr<Receiver>> receivers_;
  std::vector<std::unique_ptr<Pipeline>> pipelines_;
  std::optional<DirectoryWatch> watch_;
  Timer tick_;
  Timer stdin_retry_;
  std::optional<Poll> stdin_poll_;
  bool is_stdin_open_ = false;
  std::optional<config::LogsConfig> next_config_;  // taken over when the old pipelines have ended
  std::size_t draining_pipelines_ = 0;
  Ledger before_;  // what pipelines before a reload have counted
  std::string status_;
  std::string ledger_said_;
  MonotonicTime said_at_{};
};

}  // namespace pillion::logs
