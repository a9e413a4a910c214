// One [[input]] at work: what it has, how it is, what it counts. Polled ones ask in the background
// and answer from memory, so that a slow one delays nobody.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "adapters/metrics/model/family.h"
#include "adapters/metrics/model/series_budget.h"
#include "adapters/metrics/poll/asker.h"
#include "adapters/metrics/statsd/statsd_server.h"
#include "adapters/metrics/statsd/statsd_store.h"
#include "config/metrics.h"
#include "runtime/clock.h"
#include "runtime/loop.h"

namespace pillion::metrics {

class Source {
 public:
  virtual ~Source() = default;

  // What it has to show now; null when it has nothing.
  virtual std::shared_ptr<const Families> families() = 0;
  virtual bool is_up() const = 0;
  // Why it is not up, or what is wrong all the same; empty when all is well.
  virtual std::string trouble() const = 0;
  // Our own metrics about it, labelled with `source`.
  virtual void report(Families& own) const = 0;
  // The end: takes in what has arrived.
  virtual void finish() {}
  virtual std::uint64_t samples() const { return 0; }  // statsd, taken
  virtual std::uint64_t refused() const = 0;           // series or samples beyond the limit
  virtual StatsdServer* statsd() { return nullptr; }

  const std::string& name() const { return config_.name; }
  const config::MetricsInput& config() const { return config_; }

 protected:
  explicit Source(config::MetricsInput config) : config_(std::move(config)) {}

 private:
  const config::MetricsInput config_;
};

Naming naming_of(const config::MetricsConfig& config, const config::MetricsInput& input);

class StatsdSource final : public Source {
 public:
  // `clock` and `budget` outlive this.
  StatsdSource(Loop& loop, const Clock& clock, config::MetricsInput config, Naming naming,
               SeriesBudget& budget, StatsdServer::Sockets sockets);

  std::shared_ptr<const Families> families() override;
  bool is_up() const override { return true; }
  std::string trouble() const override { return store_.last_problem(); }
  void report(Families& own) const override;
  void finish() override { server_.read_rest(); }
  std::uint64_t samples() const override { return store_.counts().samples; }
  std::uint64_t refused() const override { return store_.counts().refused; }
  StatsdServer* statsd() override { return &server_; }

 private:
  StatsdStore::Time time() const;

  const Clock& clock_;
  StatsdStore store_;
  StatsdServer server_;
  Timer sweep_;
};

// The wait before the next question: the period after an answer; after the n-th failure in a row
// (from 1) a second, doubled each time up to the period or a minute, whichever is longer.
std::chrono::milliseconds next_wait(std::chrono::milliseconds period, unsigned failures);

class PolledSource final : public Source {
 public:
  PolledSource(Loop& loop, const Clock& clock, config::MetricsInput config, Naming naming,
               SeriesBudget& budget, std::unique_ptr<Asker> asker);
  ~PolledSource() override;

  void start();
  std::shared_ptr<const Families> families() override { return families_; }
  bool is_up() const override { return families_ != nullptr; }
  std::string trouble() const override;
  void report(Families& own) const override;
  std::uint64_t refused() const override { return refused_over_limit_; }

 private:
  void ask();
  void on_answer(Result<Families> answer);
  void on_timeout();
  void fail_with(const std::string& why);
  void take(Families families);
  void release();

  const Clock& clock_;
  Naming naming_;
  SeriesBudget& budget_;
  std::unique_ptr<Asker> asker_;
  Timer next_;
  Timer limit_;
  std::shared_ptr<const Families> families_;  // shared with a merge that is being written
  std::size_t series_ = 0;                    // of the budget
  MonotonicTime asked_{};
  bool is_waiting_ = false;  // for an answer in time
  unsigned failures_ = 0;    // in a row
  std::string why_;
  std::string remark_;  // what was left out of the last answer
  double duration_seconds_ = 0;
  std::int64_t answered_ms_ = 0;  // since the epoch
  std::uint64_t polls_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t refused_over_limit_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace pillion::metrics
