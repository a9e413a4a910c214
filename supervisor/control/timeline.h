// The last start and the last stop of a service as a waterfall, computed from its events.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"
#include "runtime/result.h"
#include "supervisor/control/event_record.h"

namespace pillion::supervisor::control {

struct TimelineSegment {
  std::string label;  // "exec", "gate", "ready", "pre_stop", "stop"
  Duration from{};    // since the start of its part
  Duration to{};
  bool operator==(const TimelineSegment&) const = default;
};

struct TimelineBar {
  std::string name;                       // "network", "capture", or a child's
  std::uint64_t generation = 0;           // of a child
  std::vector<TimelineSegment> segments;  // in order, without gaps
  std::string note;                       // how it ended when not well: "killed", "exited with 3"
  bool is_critical = false;               // a start: what is shorter here makes the whole shorter

  Duration from() const { return segments.empty() ? Duration{} : segments.front().from; }
  Duration to() const { return segments.empty() ? Duration{} : segments.back().to; }
  bool operator==(const TimelineBar&) const = default;
};

struct TimelinePart {
  WallTime began{};
  Duration total{};          // until ready, or until stopped; so far when it is not complete
  bool is_complete = false;  // the service became ready; the stop has ended
  std::vector<TimelineBar> bars;
  bool operator==(const TimelinePart&) const = default;
};

struct Timeline {
  std::optional<TimelinePart> start;
  std::optional<TimelinePart> stop;  // after `start`, if there was one
  bool operator==(const Timeline&) const = default;
};

// `events` in order; the last start among them and the stop after it. What is missing because the
// history does not reach back so far is left out.
Timeline make_timeline(const std::vector<EventRecord>& events);

std::string to_json(const Timeline& timeline);
Result<Timeline> parse_timeline(std::string_view json);

}  // namespace pillion::supervisor::control
