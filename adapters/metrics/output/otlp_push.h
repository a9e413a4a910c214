// Pushes everything over OTLP/HTTP at an interval. Values are cumulative, so a push that failed is
// not kept: the next one, tried again soon, says all that it said.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "adapters/metrics/model/exposition_text.h"
#include "adapters/metrics/output/otlp_metrics.h"
#include "config/metrics.h"
#include "runtime/clock.h"
#include "runtime/http_client.h"
#include "runtime/loop.h"

namespace pillion::metrics {

class OtlpPush {
 public:
  using Collect = std::function<Merge()>;
  // All outlive this.
  OtlpPush(Loop& loop, const Clock& clock, HttpClient& client, config::OtlpMetricsOutput config,
           const std::string& service, Collect collect);
  ~OtlpPush();

  void start();
  // One last push, now; then `on_done`, whatever came of it.
  void finish(std::function<void()> on_done);

  const config::OtlpMetricsOutput& config() const { return config_; }
  std::string name() const { return "otlp " + config_.url; }
  const std::string& trouble() const { return trouble_; }
  void report(Families& own) const;
  std::uint64_t points_pushed() const { return points_; }

 private:
  void push();
  void send(std::string body, std::size_t points);
  void on_response(Result<HttpClient::Response> response, std::size_t points);
  void settle(std::chrono::milliseconds wait);
  void fail_with(const std::string& why, bool is_passing, long retry_after_seconds);

  Loop& loop_;
  const Clock& clock_;
  HttpClient& client_;
  const config::OtlpMetricsOutput config_;
  std::map<std::string, std::string> resource_;
  Collect collect_;
  StartTimes starts_;
  Timer next_;
  HttpClient::Exchange exchange_;
  bool is_busy_ = false;
  unsigned attempt_ = 0;
  std::function<void()> on_finished_;
  std::string trouble_;
  std::uint64_t pushes_ = 0;
  std::uint64_t failures_ = 0;
  std::uint64_t points_ = 0;
  std::uint64_t rejected_ = 0;
  std::minstd_rand random_;
  std::shared_ptr<bool> is_alive_;  // told to pool work that ends after us
};

}  // namespace pillion::metrics
