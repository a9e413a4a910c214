// The brain of the supervisor: everything that is decided about one service. Pure: no system call,
// no clock, no thread; time is an argument, actions are values. The host feeds it events, carries
// out the actions of each answer in order, and calls advance() at next_wakeup().
//
//   Core core(make_plan(service), seed);
//   carry_out(core.start(now));
//   … carry_out(core.handle(Exited{child, generation, status}, now));
//   … carry_out(core.advance(now));            // at core.next_wakeup(), or whenever; early is fine
//
// After the action Finish nothing more happens. `now` never goes back; if it does, the latest time
// seen counts.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/clock.h"
#include "supervisor/core/actions.h"
#include "supervisor/core/events.h"
#include "supervisor/core/plan.h"
#include "supervisor/core/snapshot.h"
#include "supervisor/core/status.h"

namespace pillion::supervisor::core {

class ServiceRun;

class Core {
 public:
  // `seed` feeds the jitter of restart delays; the same seed and events give the same actions.
  Core(ServicePlan plan, std::uint64_t seed);
  ~Core();
  Core(Core&&) noexcept;
  Core& operator=(Core&&) noexcept;

  // Continues from a snapshot. `survivors` are the processes of this service that the host found;
  // those of another generation than the snapshot's are killed. Call start() next.
  static Core restore(ServicePlan plan, std::uint64_t seed, const Snapshot& snapshot,
                      const std::vector<Survivor>& survivors, MonotonicTime now, Duration boot_now);

  // The first actions of a new core, or of a restored one. Call once, before anything else.
  Actions start(MonotonicTime now);

  Actions handle(const Event& event, MonotonicTime now);

  // Lets time pass: deadlines, probes, backoff.
  Actions advance(MonotonicTime now);

  // When advance() has something to do; empty when only an event can move anything.
  std::optional<MonotonicTime> next_wakeup() const;

  // All of the state. `boot_now` is CLOCK_BOOTTIME at `now`.
  Snapshot snapshot(MonotonicTime now, Duration boot_now) const;

  ServiceStatus status(MonotonicTime now) const;
  const ServicePlan& plan() const;
  bool is_finished() const;

 private:
  explicit Core(std::unique_ptr<ServiceRun> run);
  std::unique_ptr<ServiceRun> run_;
};

}  // namespace pillion::supervisor::core
