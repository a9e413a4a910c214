#include "supervisor/core/probe_schedule.h"

#include <fmt/format.h>

#include <algorithm>

namespace pillion::supervisor::core {

namespace {
// A host that answers this long after the probe's timeout has lost it.
constexpr Duration kAnswerSlack = std::chrono::seconds(2);
}  // namespace

void ProbeSchedule::start(MonotonicTime now, Verdict known) {
  *this = [this, known, now] {
    ProbeSchedule fresh(kind_, plan_);
    fresh.last_sequence_ = last_sequence_;  // late answers to an earlier start stay recognisable
    fresh.verdict_ = known;
    fresh.next_at_ = known == Verdict::Unknown ? now + plan_.initial_delay : now;
    return fresh;
  }();
}

void ProbeSchedule::stop(ChildId child, Generation generation, Actions& actions) {
  next_at_.reset();
  if (!outstanding_) return;
  actions.push_back(CancelProbe{child, generation, kind_, outstanding_->sequence});
  outstanding_.reset();
}

void ProbeSchedule::advance(ChildId child, Generation generation, MonotonicTime now,
                            Actions& actions) {
  if (outstanding_ && now >= outstanding_->lost_at) {
    actions.push_back(CancelProbe{child, generation, kind_, outstanding_->sequence});
    next_at_ = std::max(now, outstanding_->started_at + plan_.period);
    outstanding_.reset();
    count(ProbeResult::Timeout, "no answer from the prober");
  }
  if (outstanding_ || !next_at_ || now < *next_at_) return;
  next_at_.reset();
  outstanding_ = Outstanding{++last_sequence_, now, now + plan_.timeout + kAnswerSlack};
  actions.push_back(RunProbe{child, generation, kind_, last_sequence_, plan_.timeout});
}

void ProbeSchedule::on_result(const ProbeFinished& result, MonotonicTime now) {
  if (!outstanding_ || result.sequence != outstanding_->sequence) return;
  next_at_ = std::max(now, outstanding_->started_at + plan_.period);
  outstanding_.reset();
  count(result.result, result.detail);
}

void ProbeSchedule::count(ProbeResult result, const std::string& detail) {
  last_detail_ = result == ProbeResult::Timeout && detail.empty() ? "timeout" : detail;
  switch (result) {
    case ProbeResult::ProberError: return;
    case ProbeResult::Success:
      failures_ = 0;
      successes_ = std::min(successes_ + 1, plan_.success_threshold);
      if (successes_ >= plan_.success_threshold) verdict_ = Verdict::Success;
      return;
    case ProbeResult::Failure:
    case ProbeResult::Timeout:
      successes_ = 0;
      failures_ = std::min(failures_ + 1, plan_.failure_threshold);
      if (failures_ >= plan_.failure_threshold) verdict_ = Verdict::Failure;
      return;
  }
}

void ProbeSchedule::forgive(Duration stall, MonotonicTime now) {
  if (!outstanding_) return;
  outstanding_->started_at += stall;
  outstanding_->lost_at = std::max(outstanding_->lost_at + stall, now + kAnswerSlack);
}

void ProbeSchedule::forget() {
  verdict_ = Verdict::Unknown;
  successes_ = failures_ = 0;
  last_detail_.clear();
}

ProbeSnapshot ProbeSchedule::snapshot(const BootTimes& times) const {
  ProbeSnapshot out;
  out.verdict = static_cast<int>(verdict_);
  out.successes = successes_;
  out.failures = failures_;
  out.last_sequence = last_sequence_;
  const auto next = outstanding_ ? std::optional(outstanding_->started_at) : next_at_;
  out.next_at = times.to_boot(next);
  out.last_detail = last_detail_;
  return out;
}

void ProbeSchedule::restore(const ProbeSnapshot& in, const BootTimes& times, MonotonicTime now) {
  verdict_ = static_cast<Verdict>(in.verdict);
  successes_ = std::min(in.successes, plan_.success_threshold);
  failures_ = std::min(in.failures, plan_.failure_threshold);
  last_sequence_ = in.last_sequence;
  last_detail_ = in.last_detail;
  // Never later than a fresh one would run: the clock of the snapshot may be off.
  const auto latest = now + std::max(plan_.period, plan_.initial_delay);
  if (in.next_at) next_at_ = std::clamp(times.from_boot(*in.next_at), now, latest);
}

void ProbeSchedule::spread(MonotonicTime now, Random& random) {
  if (!next_at_ || *next_at_ > now) return;
  const Duration width = std::min<Duration>(plan_.period, std::chrono::seconds(1));
  next_at_ =
      now +
      Duration(static_cast<Duration::rep>(random.below(static_cast<std::uint64_t>(width.count()))));
}

std::optional<MonotonicTime> ProbeSchedule::next_wakeup() const {
  if (outstanding_) return outstanding_->lost_at;
  return next_at_;
}

std::string ProbeSchedule::describe() const {
  if (failures_ > 0) {
    return fmt::format("failed {}/{}{}{}", failures_, plan_.failure_threshold,
                       last_detail_.empty() ? "" : ": ", last_detail_);
  }
  if (successes_ > 0 && verdict_ != Verdict::Success) {
    return fmt::format("succeeded {}/{}", successes_, plan_.success_threshold);
  }
  return {};
}

}  // namespace pillion::supervisor::core
