#include "supervisor/control/timeline.h"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "supervisor/control/time_text.h"

namespace pillion::supervisor::control {

namespace {

using Json = nlohmann::ordered_json;

// Two steps closer than this follow one another: the second waited for the first.
constexpr Duration kFollowsWithin = std::chrono::milliseconds(5);

// Bars in the making, by child and generation.
class PartBuilder {
 public:
  explicit PartBuilder(const EventRecord& first) : zero_(first.boot) { part_.began = first.time; }

  Duration at(const EventRecord& event) const {
    return std::max(event.boot - zero_, Duration::zero());
  }

  TimelineBar& bar(const std::string& name, std::uint64_t generation) {
    for (TimelineBar& bar : part_.bars) {
      if (bar.name == name && bar.generation == generation) return bar;
    }
    part_.bars.push_back({name, generation, {}, {}, false});
    return part_.bars.back();
  }
  TimelineBar* find(const EventRecord& event) {
    for (TimelineBar& bar : part_.bars) {
      if (bar.name == event.child && bar.generation == event.generation) return &bar;
    }
    return nullptr;
  }

  // Opens a segment that the next one, or close(), ends.
  static void open(TimelineBar& bar, const std::string& label, Duration now) {
    close(bar, now);
    bar.segments.push_back({label, now, now});
  }
  static void close(TimelineBar& bar, Duration now) {
    if (!bar.segments.empty()) bar.segments.back().to = now;
  }

  TimelinePart& part() { return part_; }

 private:
  Duration zero_;
  TimelinePart part_;
};

void add_to_start(PartBuilder& builder, const EventRecord& event) {
  const Duration now = builder.at(event);
  TimelineBar* bar = builder.find(event);
  if (event.kind == "service_preparing") {
    PartBuilder::open(builder.bar("network", 0), "set-up", now);
  } else if (event.kind == "network_ready") {
    PartBuilder::close(builder.bar("network", 0), now);
  } else if (event.kind == "capture_enabling") {
    PartBuilder::open(builder.bar("capture", 0), "rules", now);
  } else if (event.kind == "capture_live") {
    PartBuilder::close(builder.bar("capture", 0), now);
  } else if (event.kind == "child_spawning") {
    PartBuilder::open(builder.bar(event.child, event.generation), "exec", now);
  } else if (!bar) {
    return;
  } else if (event.kind == "child_executed") {
    PartBuilder::open(*bar, "gate", now);
  } else if (event.kind == "child_started") {
    PartBuilder::open(*bar, "ready", now);
  } else if (event.kind == "child_ready" || event.kind == "child_completed") {
    PartBuilder::close(*bar, now);
  } else if (event.kind == "child_exited" || event.kind == "child_start_failed") {
    PartBuilder::close(*bar, now);
    // An init task that ends well has done its work.
    const auto code = event.fields.find("exit_code");
    const bool is_good = code != event.fields.end() && code->second == "0";
    if (!is_good) bar->note = event.text;
  }
}

void add_to_stop(PartBuilder& builder, const EventRecord& event) {
  const Duration now = builder.at(event);
  TimelineBar* bar = builder.find(event);
  if (event.kind == "pre_stop_started") {
    PartBuilder::open(builder.bar(event.child, event.generation), "pre_stop", now);
  } else if (event.kind == "child_stopping") {
    PartBuilder::open(builder.bar(event.child, event.generation), "stop", now);
  } else if (event.kind == "child_killed") {
    PartBuilder::open(builder.bar(event.child, event.generation), "kill", now);
    builder.bar(event.child, event.generation).note = "killed";
  } else if (bar && (event.kind == "child_exited" || event.kind == "child_stopped")) {
    if (event.kind == "child_exited" || bar->segments.back().from == bar->segments.back().to) {
      PartBuilder::close(*bar, now);
    }
  } else if (event.kind == "network_removing") {
    PartBuilder::open(builder.bar("network", 0), "removal", now);
  } else if (event.kind == "network_removed") {
    PartBuilder::close(builder.bar("network", 0), now);
  }
}

// Shorter than this is not worth a word: a child without a gate has passed it at once.
constexpr Duration kWorthShowing = std::chrono::microseconds(100);

void drop_empty_segments(TimelinePart& part) {
  for (TimelineBar& bar : part.bars) {
    const TimelineSegment first = bar.segments.front();
    std::erase_if(bar.segments,
                  [](const TimelineSegment& one) { return one.to - one.from < kWorthShowing; });
    if (bar.segments.empty()) bar.segments.push_back(first);
  }
}

// Walks back from what ended last to what it must have waited for.
void mark_critical(TimelinePart& part) {
  TimelineBar* current = nullptr;
  for (TimelineBar& bar : part.bars) {
    if (!current || bar.to() > current->to()) current = &bar;
  }
  while (current) {
    current->is_critical = true;
    TimelineBar* before = nullptr;
    for (TimelineBar& bar : part.bars) {
      // Dependants start when a child has *started*, which may be before it is ready.
      Duration end = bar.to();
      for (const TimelineSegment& one : bar.segments) {
        if (one.label == "ready") end = one.from;
      }
      const bool is_before = end <= current->from() && current->from() - end <= kFollowsWithin;
      if (bar.is_critical || !is_before) continue;
      if (!before || end > before->to()) before = &bar;
    }
    current = before;
  }
}

TimelinePart make_start(const std::vector<EventRecord>& events, std::size_t first,
                        std::size_t end) {
  PartBuilder builder(events[first]);
  for (std::size_t i = first; i < end; ++i) {
    add_to_start(builder, events[i]);
    builder.part().total = builder.at(events[i]);
    if (events[i].kind != "service_ready") continue;
    builder.part().is_complete = true;
    break;
  }
  TimelinePart& part = builder.part();
  // What is still under way lasts until now.
  for (TimelineBar& bar : part.bars) {
    if (!part.is_complete && bar.note.empty() && bar.segments.back().from == bar.to()) {
      PartBuilder::close(bar, part.total);
    }
  }
  drop_empty_segments(part);
  if (part.is_complete) mark_critical(part);
  return part;
}

TimelinePart make_stop(const std::vector<EventRecord>& events, std::size_t first) {
  PartBuilder builder(events[first]);
  for (std::size_t i = first; i < events.size(); ++i) {
    add_to_stop(builder, events[i]);
    builder.part().total = builder.at(events[i]);
    if (events[i].kind != "service_stopped") continue;
    builder.part().is_complete = true;
    break;
  }
  drop_empty_segments(builder.part());
  return builder.part();
}

double to_ms(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}
Duration from_ms(double milliseconds) {
  return std::chrono::duration_cast<Duration>(
      std::chrono::duration<double, std::milli>(milliseconds));
}

Json encode(const TimelinePart& part) {
  Json json;
  json["began"] = format_time(part.began);
  json["total_ms"] = to_ms(part.total);
  json["complete"] = part.is_complete;
  json["bars"] = Json::array();
  for (const TimelineBar& bar : part.bars) {
    Json one;
    one["name"] = bar.name;
    if (bar.generation != 0) one["generation"] = bar.generation;
    one["segments"] = Json::array();
    for (const TimelineSegment& segment : bar.segments) {
      one["segments"].push_back({{"label", segment.label},
                                 {"from_ms", to_ms(segment.from)},
                                 {"to_ms", to_ms(segment.to)}});
    }
    if (!bar.note.empty()) one["note"] = bar.note;
    one["critical"] = bar.is_critical;
    json["bars"].push_back(std::move(one));
  }
  return json;
}

TimelinePart decode(const Json& json) {
  TimelinePart part;
  part.began = parse_time(json.value("began", "")).value_or(WallTime{});
  part.total = from_ms(json.at("total_ms").get<double>());
  part.is_complete = json.value("complete", false);
  for (const Json& one : json.at("bars")) {
    TimelineBar bar;
    bar.name = one.at("name").get<std::string>();
    bar.generation = one.value("generation", std::uint64_t{0});
    for (const Json& segment : one.at("segments")) {
      bar.segments.push_back({segment.value("label", ""), from_ms(segment.value("from_ms", 0.0)),
                              from_ms(segment.value("to_ms", 0.0))});
    }
    bar.note = one.value("note", "");
    bar.is_critical = one.value("critical", false);
    part.bars.push_back(std::move(bar));
  }
  return part;
}

}  // namespace

Timeline make_timeline(const std::vector<EventRecord>& events) {
  Timeline timeline;
  std::size_t first = events.size();
  while (first > 0 && events[first - 1].kind != "service_preparing") --first;
  std::size_t stop = first;
  while (stop < events.size() && events[stop].kind != "service_stopping") ++stop;
  if (first > 0) timeline.start = make_start(events, first - 1, stop);
  if (stop < events.size()) timeline.stop = make_stop(events, stop);
  return timeline;
}

std::string to_json(const Timeline& timeline) {
  Json json = Json::object();
  if (timeline.start) json["start"] = encode(*timeline.start);
  if (timeline.stop) json["stop"] = encode(*timeline.stop);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Timeline> parse_timeline(std::string_view text) {
  // The library reports by exception; this is the boundary.
  try {
    const Json json = Json::parse(text);
    if (!json.is_object()) return fail("cannot read the timeline: it is no object");
    Timeline timeline;
    if (json.contains("start")) timeline.start = decode(json["start"]);
    if (json.contains("stop")) timeline.stop = decode(json["stop"]);
    return timeline;
  } catch (const Json::exception& error) {
    return fail(std::string("cannot read the timeline: ") + error.what());
  }
}

}  // namespace pillion::supervisor::control
