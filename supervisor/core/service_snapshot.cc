// The service's memory as a value and back.
#include <algorithm>

#include "supervisor/core/boot_times.h"
#include "supervisor/core/service_run.h"

namespace pillion::supervisor::core {

Snapshot ServiceRun::snapshot(MonotonicTime now, Duration boot_now) const {
  const BootTimes times(now, boot_now);
  Snapshot out;
  out.state = state_;
  out.service_started_at = times.to_boot(started_at_);
  out.entered_state_at = times.to_boot(entered_state_at_);
  out.is_capture_live = capture_ == Capture::Live;
  out.has_app_started = has_app_started_;
  if (stop_) {
    StopSnapshot stop;
    stop.reason = stop_->reason;
    stop.requested_at = times.to_boot(stop_->requested_at);
    stop.deadline = times.to_boot(stop_->deadline);
    stop.requests = stop_->requests;
    stop.are_delays_skipped = stop_->are_delays_skipped;
    stop.forced_exit_code = stop_->forced_exit_code;
    stop.app_signalled_at = times.to_boot(stop_->app_signalled_at);
    stop.app_gone_at = times.to_boot(stop_->app_gone_at);
    stop.all_gone_at = times.to_boot(stop_->all_gone_at);
    out.stop = stop;
  }
  for (const Child& child : children_) out.children.push_back(child.snapshot(now, boot_now));
  return out;
}

void ServiceRun::restore(const Snapshot& in, const std::vector<Survivor>& survivors,
                         MonotonicTime now, Duration boot_now) {
  const BootTimes times(now, boot_now);
  is_restored_ = true;
  latest_ = now;
  state_ = in.state;
  started_at_ = times.from_boot(in.service_started_at);
  entered_state_at_ = std::min(times.from_boot(in.entered_state_at), now);
  capture_ = in.is_capture_live ? Capture::Live : Capture::Off;
  has_app_started_ = in.has_app_started;
  if (in.stop) {
    stop_ = Stop{};
    stop_->reason = in.stop->reason;
    stop_->requested_at = times.from_boot(in.stop->requested_at);
    stop_->deadline = times.from_boot(in.stop->deadline);
    stop_->requests = in.stop->requests;
    stop_->are_delays_skipped = in.stop->are_delays_skipped;
    stop_->forced_exit_code = in.stop->forced_exit_code;
    stop_->app_signalled_at = times.from_boot(in.stop->app_signalled_at);
    stop_->app_gone_at = times.from_boot(in.stop->app_gone_at);
    stop_->all_gone_at = times.from_boot(in.stop->all_gone_at);
  } else if (is_stopping(state_)) {
    state_ = ServiceState::Running;  // a snapshot that contradicts itself; the children decide
  }
  for (Child& child : children_) {
    const auto known =
        std::find_if(in.children.begin(), in.children.end(),
                     [&](const ChildSnapshot& one) { return one.name == child.plan().name; });
    if (known != in.children.end()) child.restore(*known, now, boot_now);
    const Survivor* chosen = nullptr;
    for (const Survivor& survivor : survivors) {
      if (survivor.child != child.plan().name) continue;
      const bool is_better = !chosen || survivor.generation == child.generation() ||
                             (chosen->generation != child.generation() && chosen->exited);
      if (is_better) chosen = &survivor;
    }
    child.adopt(chosen);
    for (const Survivor& survivor : survivors) {
      if (survivor.child != child.plan().name || &survivor == chosen) continue;
      past_generations_.push_back({child.id(), survivor.generation, !survivor.exited});
    }
  }
}

}  // namespace pillion::supervisor::core
