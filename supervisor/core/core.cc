#include "supervisor/core/core.h"

#include "supervisor/core/service_run.h"

namespace pillion::supervisor::core {

Core::Core(ServicePlan plan, std::uint64_t seed)
    : run_(std::make_unique<ServiceRun>(std::move(plan), seed)) {}
Core::Core(std::unique_ptr<ServiceRun> run) : run_(std::move(run)) {}
Core::~Core() = default;
Core::Core(Core&&) noexcept = default;
Core& Core::operator=(Core&&) noexcept = default;

Core Core::restore(ServicePlan plan, std::uint64_t seed, const Snapshot& snapshot,
                   const std::vector<Survivor>& survivors, MonotonicTime now, Duration boot_now) {
  Core core(std::move(plan), seed);
  core.run_->restore(snapshot, survivors, now, boot_now);
  return core;
}

Actions Core::start(MonotonicTime now) { return run_->start(now); }
Actions Core::handle(const Event& event, MonotonicTime now) { return run_->handle(event, now); }
Actions Core::advance(MonotonicTime now) { return run_->advance(now); }
std::optional<MonotonicTime> Core::next_wakeup() const { return run_->next_wakeup(); }
Snapshot Core::snapshot(MonotonicTime now, Duration boot_now) const {
  return run_->snapshot(now, boot_now);
}
ServiceStatus Core::status(MonotonicTime now) const { return run_->status(now); }
const ServicePlan& Core::plan() const { return run_->plan(); }
bool Core::is_finished() const { return run_->is_finished(); }

}  // namespace pillion::supervisor::core
