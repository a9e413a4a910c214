// Events as text, and the waterfall that comes of them.
#include "supervisor/control/timeline.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "supervisor/control/event_record.h"
#include "supervisor/control/time_text.h"

using namespace pillion;
using namespace pillion::supervisor::control;
using std::chrono::milliseconds;

namespace {

// A history in the making: one event per call, at a time since boot.
class History {
 public:
  History& add(int at_ms, const std::string& kind, const std::string& child = "",
               std::uint64_t generation = 1, std::map<std::string, std::string> fields = {}) {
    EventRecord event;
    event.sequence = events.size() + 1;
    event.boot = milliseconds(at_ms);
    event.time = WallTime(std::chrono::seconds(1705329121)) + milliseconds(at_ms);
    event.kind = kind;
    event.level = "info";
    event.child = child;
    event.generation = child.empty() ? 0 : generation;
    event.text = kind;
    event.fields = std::move(fields);
    events.push_back(event);
    return *this;
  }
  History& start(int at_ms, const std::string& child, int exec_ms, int gate_ms) {
    return add(at_ms, "child_spawning", child)
        .add(at_ms + exec_ms, "child_executed", child)
        .add(at_ms + exec_ms + gate_ms, "child_started", child);
  }
  std::vector<EventRecord> events;
};

std::string describe(const TimelinePart& part) {
  std::string text;
  for (const TimelineBar& bar : part.bars) {
    text += (bar.is_critical ? "*" : "") + bar.name;
    for (const TimelineSegment& one : bar.segments) {
      text += " " + one.label + ":" + std::to_string(one.from / milliseconds(1)) + "-" +
              std::to_string(one.to / milliseconds(1));
    }
    text += bar.note.empty() ? "\n" : " (" + bar.note + ")\n";
  }
  return text;
}

}  // namespace

TEST_CASE("a start is a waterfall with its critical path") {
  History history;
  history.add(1000, "service_preparing").add(1020, "network_ready");
  history.start(1020, "logs", 5, 10).start(1020, "vault", 5, 100).start(1126, "proxy", 4, 50);
  history.add(1180, "capture_enabling").add(1190, "capture_live");
  history.start(1191, "app", 9, 200).add(1450, "child_ready", "app").add(1450, "service_ready");
  history.add(9000, "child_exited", "app");
  const Timeline timeline = make_timeline(history.events);
  REQUIRE(timeline.start);
  CHECK(timeline.start->total == milliseconds(450));
  CHECK(timeline.start->is_complete);
  CHECK(describe(*timeline.start) ==
        "*network set-up:0-20\n"
        "logs exec:20-25 gate:25-35\n"
        "*vault exec:20-25 gate:25-125\n"
        "*proxy exec:126-130 gate:130-180\n"
        "*capture rules:180-190\n"
        "*app exec:191-200 gate:200-400 ready:400-450\n");
  CHECK_FALSE(timeline.stop);
  CHECK(*parse_timeline(to_json(timeline)) == timeline);
}

TEST_CASE("a stop shows hooks, signals and kills") {
  History history;
  history.add(0, "service_preparing").add(1, "network_ready").add(2, "service_ready");
  history.add(100, "service_stopping").add(100, "pre_stop_started", "app");
  history.add(300, "child_stopping", "app").add(700, "child_exited", "app");
  history.add(700, "child_stopping", "proxy").add(900, "child_killed", "proxy");
  history.add(910, "child_exited", "proxy");
  history.add(911, "network_removing").add(931, "network_removed").add(932, "service_stopped");
  const Timeline timeline = make_timeline(history.events);
  REQUIRE(timeline.stop);
  CHECK(timeline.stop->is_complete);
  CHECK(timeline.stop->total == milliseconds(832));
  CHECK(describe(*timeline.stop) ==
        "app pre_stop:0-200 stop:200-600\n"
        "proxy stop:600-800 kill:800-810 (killed)\n"
        "network removal:811-831\n");
}

TEST_CASE("generations that failed on the way have bars of their own") {
  History history;
  history.add(0, "service_preparing").add(1, "network_ready");
  history.start(1, "app", 2, 0).add(50, "child_exited", "app", 1, {{"exit_code", "3"}});
  history.add(60, "child_spawning", "app", 2).add(70, "child_executed", "app", 2);
  const Timeline timeline = make_timeline(history.events);
  REQUIRE(timeline.start);
  CHECK_FALSE(timeline.start->is_complete);
  CHECK(describe(*timeline.start) ==
        "network set-up:0-1\n"
        "app exec:1-3 ready:3-50 (child_exited)\n"
        "app exec:60-70\n");
}

TEST_CASE("only the last run counts, and a history without one has no timeline") {
  History history;
  history.add(0, "service_preparing").add(5, "service_ready").add(6, "service_stopping");
  history.add(7, "service_stopped").add(100, "service_preparing").add(103, "service_ready");
  const Timeline timeline = make_timeline(history.events);
  REQUIRE(timeline.start);
  CHECK(timeline.start->total == milliseconds(3));
  CHECK_FALSE(timeline.stop);
  CHECK(make_timeline({}) == Timeline{});
  History lone;
  lone.add(0, "child_exited", "app").add(1, "service_stopping").add(2, "service_stopped");
  const Timeline rest = make_timeline(lone.events);
  CHECK_FALSE(rest.start);
  CHECK(rest.stop);
}

TEST_CASE("an event survives JSON, whatever a child says") {
  EventRecord event;
  event.sequence = 7;
  event.time = WallTime(std::chrono::microseconds(1705329121123456));
  event.boot = milliseconds(1500);
  event.kind = "child_exited";
  event.level = "warning";
  event.child = "app";
  event.generation = 3;
  event.text = "said \"hi\"\n\x01";
  event.fields = {{"exit_code", "3"}};
  CHECK(*parse_event(to_json(event)) == event);
  event.text = "\xff";
  CHECK(parse_event(to_json(event))->text == "\xef\xbf\xbd");
}

TEST_CASE("rubbish is no event and no timeline") {
  for (const char* text : {"", "{}", "[]", "null", R"({"sequence":1,"time":"now","kind":"x"})",
                           R"({"sequence":"1","time":"2024-01-15T14:32:01Z","kind":"x"})"}) {
    CHECK_FALSE(parse_event(text));
  }
  for (const char* text : {"", "[", "7", R"({"start":{}})", R"({"stop":{"total_ms":1}})"}) {
    CHECK_FALSE(parse_timeline(text));
  }
}

TEST_CASE("a filter takes what is later, from a child, and at least as grave") {
  EventRecord event;
  event.sequence = 5;
  event.level = "warning";
  event.child = "app";
  event.time = *parse_time("2024-01-15T14:32:01.5Z");
  EventFilter filter;
  CHECK(filter.matches(event));
  filter.after = 5;
  CHECK_FALSE(filter.matches(event));
  filter = {4, *parse_time("2024-01-15T14:32:01Z"), "app", "warning"};
  CHECK(filter.matches(event));
  filter.level = "error";
  CHECK_FALSE(filter.matches(event));
  filter.level = "info";
  filter.child = "proxy";
  CHECK_FALSE(filter.matches(event));
  filter.child = "app";
  filter.since = *parse_time("2024-01-15T14:32:02Z");
  CHECK_FALSE(filter.matches(event));
}
