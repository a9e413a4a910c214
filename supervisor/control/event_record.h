// One event of a service's history, as it is kept in events.ndjson and sent by GET /v1/events.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/clock.h"
#include "runtime/result.h"

namespace pillion::supervisor::control {

struct EventRecord {
  std::uint64_t sequence = 0;  // counts on over restarts of the supervisor and of the service
  WallTime time{};
  Duration boot{};    // since boot, for intervals: the wall clock may step
  std::string kind;   // "child_exited"; core/report.h lists the core's
  std::string level;  // "debug", "info", "warning", "error"
  std::string child;  // empty = the service
  std::uint64_t generation = 0;
  std::string text;  // for people
  std::map<std::string, std::string> fields;

  bool operator==(const EventRecord&) const = default;
};

// One line without a newline.
std::string to_json(const EventRecord& event);
Result<EventRecord> parse_event(std::string_view json);

// From least to most; -1 for a word that is no level.
int level_rank(std::string_view level);

// What of a history is wanted.
struct EventFilter {
  std::uint64_t after = 0;  // sequence
  WallTime since{};
  std::string child;
  std::string level = "debug";  // and above

  bool matches(const EventRecord& event) const;
};

}  // namespace pillion::supervisor::control
