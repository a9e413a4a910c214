#include "supervisor/control/event_record.h"

#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

#include "supervisor/control/time_text.h"

namespace pillion::supervisor::control {

using Json = nlohmann::ordered_json;

std::string to_json(const EventRecord& event) {
  Json json;
  json["sequence"] = event.sequence;
  json["time"] = format_time(event.time);
  json["boot_seconds"] = std::chrono::duration<double>(
                             std::chrono::duration_cast<std::chrono::microseconds>(event.boot))
                             .count();
  json["kind"] = event.kind;
  json["level"] = event.level;
  if (!event.child.empty()) json["child"] = event.child;
  if (event.generation != 0) json["generation"] = event.generation;
  json["text"] = event.text;
  if (!event.fields.empty()) json["fields"] = event.fields;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<EventRecord> parse_event(std::string_view text) {
  // The library reports by exception; this is the boundary.
  try {
    const Json json = Json::parse(text);
    EventRecord event;
    event.sequence = json.at("sequence").get<std::uint64_t>();
    const auto time = parse_time(json.at("time").get_ref<const std::string&>());
    if (!time) return fail("cannot read an event: its time is none");
    event.time = *time;
    event.boot = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(json.value("boot_seconds", 0.0)));
    event.kind = json.at("kind").get<std::string>();
    event.level = json.value("level", "info");
    event.child = json.value("child", "");
    event.generation = json.value("generation", std::uint64_t{0});
    event.text = json.value("text", "");
    if (json.contains("fields")) {
      event.fields = json["fields"].get<std::map<std::string, std::string>>();
    }
    return event;
  } catch (const Json::exception& error) {
    return fail(std::string("cannot read an event: ") + error.what());
  }
}

int level_rank(std::string_view level) {
  static constexpr std::string_view kLevels[] = {"debug", "info", "warning", "error"};
  const auto found = std::find(std::begin(kLevels), std::end(kLevels), level);
  return found == std::end(kLevels) ? -1 : static_cast<int>(found - std::begin(kLevels));
}

bool EventFilter::matches(const EventRecord& event) const {
  if (event.sequence <= after || event.time < since) return false;
  if (!child.empty() && event.child != child) return false;
  return level_rank(event.level) >= level_rank(level);
}

}  // namespace pillion::supervisor::control
