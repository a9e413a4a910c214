// One probe of one generation: when to run it, and what its results add up to. Consecutive equal
// results count against the thresholds, the opposite result starts anew; an error of the prober
// itself counts for neither. At most one run is outstanding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "supervisor/core/actions.h"
#include "supervisor/core/boot_times.h"
#include "supervisor/core/events.h"
#include "supervisor/core/plan.h"
#include "supervisor/core/random.h"
#include "supervisor/core/snapshot.h"

namespace pillion::supervisor::core {

class ProbeSchedule {
 public:
  enum class Verdict { Unknown, Success, Failure };

  ProbeSchedule(ProbeKind kind, const ProbePlan& plan) : kind_(kind), plan_(plan) {}

  ProbeKind kind() const { return kind_; }
  const ProbePlan& plan() const { return plan_; }
  bool is_active() const { return next_at_.has_value() || outstanding_.has_value(); }

  // Forgets everything and runs the first probe after the initial delay. `known` is what a
  // supervisor before this one knew.
  void start(MonotonicTime now, Verdict known = Verdict::Unknown);
  // What was counted is of a past generation.
  void forget();
  // No further run; the outstanding one is cancelled.
  void stop(ChildId child, Generation generation, Actions& actions);

  // Starts a run when one is due; counts a run that the host never answered as a timeout.
  void advance(ChildId child, Generation generation, MonotonicTime now, Actions& actions);
  // Results for another run than the outstanding one are ignored.
  void on_result(const ProbeFinished& result, MonotonicTime now);

  // We did not run until `now` for so long: an answer under way may still come.
  void forgive(Duration stall, MonotonicTime now);

  // What outlives a supervisor, and back. A run under way is run again; one that is due is spread
  // over a second, for all probes of a machine come back at once.
  ProbeSnapshot snapshot(const BootTimes& times) const;
  void restore(const ProbeSnapshot& in, const BootTimes& times, MonotonicTime now);
  void spread(MonotonicTime now, Random& random);

  // The last verdict whose threshold was reached.
  Verdict verdict() const { return verdict_; }
  unsigned failures() const { return failures_; }
  unsigned successes() const { return successes_; }
  std::optional<MonotonicTime> next_wakeup() const;

  // "failed 7/30: connection refused", or empty when there is nothing to tell.
  std::string describe() const;

 private:
  struct Outstanding {
    std::uint64_t sequence = 0;
    MonotonicTime started_at;
    MonotonicTime lost_at;  // no answer until then = timeout
  };
  void count(ProbeResult result, const std::string& detail);

  ProbeKind kind_;
  ProbePlan plan_;
  std::optional<MonotonicTime> next_at_;
  std::optional<Outstanding> outstanding_;
  std::uint64_t last_sequence_ = 0;
  unsigned successes_ = 0;
  unsigned failures_ = 0;
  Verdict verdict_ = Verdict::Unknown;
  std::string last_detail_;
};

}  // namespace pillion::supervisor::core
