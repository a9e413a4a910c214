// What statsd samples have added up to: series by name and labels, one look-up per sample and no
// allocation once a series is known. From one thread; time is an argument (milliseconds).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "adapters/metrics/model/family.h"
#include "adapters/metrics/model/series_budget.h"
#include "adapters/metrics/statsd/statsd_line.h"
#include "config/metrics.h"

namespace pillion::metrics {

class StatsdStore {
 public:
  struct Counts {
    std::uint64_t samples = 0;    // taken
    std::uint64_t dropped = 0;    // by a mapping, or unmapped
    std::uint64_t refused = 0;    // of series beyond the limit
    std::uint64_t conflicts = 0;  // of a name that has another type
    std::uint64_t set_values_refused = 0;
    std::uint64_t expired = 0;                              // series
    std::array<std::uint64_t, kStatsdProblems> problems{};  // lines
  };
  static constexpr std::size_t kSetValuesMax = 1'000'000;  // of all sets together
  static constexpr std::size_t kLineBytesMax = 64u << 10;

  struct Time {
    std::int64_t now_ms = 0;   // monotonic
    std::int64_t wall_ms = 0;  // since the epoch
  };

  // `budget` outlives this.
  StatsdStore(config::StatsdInput config, Naming naming, SeriesBudget& budget);
  ~StatsdStore();  // gives its series back
  StatsdStore(const StatsdStore&) = delete;
  StatsdStore& operator=(const StatsdStore&) = delete;

  // All lines of a datagram.
  void take(std::string_view datagram, const Time& time);
  // Forgets series that have been idle for their ttl. Cheap; call it about once a second.
  void expire(const Time& time);
  std::shared_ptr<const Families> snapshot(const Time& time);

  const Counts& counts() const { return counts_; }
  std::size_t series() const;
  // One line that was refused last, and why; for people. Empty when none was.
  const std::string& last_problem() const { return last_problem_; }

 private:
  struct Slot;
  struct Tables;
  void take_line(std::string_view line, const Time& time);
  void apply(Slot& slot, const StatsdSample& sample, const Time& time);
  Slot* find_or_make(const StatsdSample& sample, const Time& time);
  Slot* make(const StatsdSample& sample, const Time& time);
  void add_to_set(Slot& slot, std::string_view value, const Time& time);
  void note_problem(StatsdProblem problem, std::string_view line);

  config::StatsdInput config_;
  Naming naming_;
  SeriesBudget& budget_;
  std::unique_ptr<Tables> tables_;
  Counts counts_;
  std::size_t set_values_ = 0;
  std::string last_problem_;
};

}  // namespace pillion::metrics
