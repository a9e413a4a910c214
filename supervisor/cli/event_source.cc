#include "supervisor/cli/event_source.h"

#include <fmt/format.h>

#include <cerrno>

#include "runtime/fd.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/control/time_text.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::cli {

namespace {

void take_events(std::string_view lines, const control::EventFilter& filter,
                 std::vector<control::EventRecord>& events) {
  while (!lines.empty()) {
    const std::size_t newline = std::min(lines.find('\n'), lines.size());
    auto event = control::parse_event(lines.substr(0, newline));
    lines.remove_prefix(std::min(newline + 1, lines.size()));
    if (event && filter.matches(*event)) events.push_back(std::move(*event));
  }
}

Colour level_colour(const std::string& level) {
  if (level == "error") return Colour::Red;
  if (level == "warning") return Colour::Yellow;
  return level == "debug" ? Colour::Dim : Colour::None;
}

}  // namespace

std::string query_of(const control::EventFilter& filter) {
  std::string query;
  const auto add = [&](std::string_view key, std::string_view value) {
    query += fmt::format("{}{}={}", query.empty() ? "?" : "&", key, encode_for_target(value));
  };
  if (filter.after > 0) add("after", std::to_string(filter.after));
  if (filter.since != WallTime{}) add("since", control::format_time(filter.since));
  if (!filter.child.empty()) add("child", filter.child);
  if (filter.level != "debug") add("level", filter.level);
  return query;
}

Result<std::vector<control::EventRecord>> fetch_events(const std::string& name,
                                                       const control::EventFilter& filter) {
  std::vector<control::EventRecord> events;
  const auto answer = call_api(name, "GET", "/v1/events" + query_of(filter));
  if (answer) {
    take_events(*answer, filter, events);
    return events;
  }
  if (answer.error().errno_value() != ENOENT) return fail(answer.error());
  const std::string path = host::service_paths(service_name_of(name)).log + "/events.ndjson";
  bool has_history = false;
  for (const char* suffix : {".3", ".2", ".1", ""}) {
    const auto text = read_file(path + suffix);
    if (!text) continue;
    has_history = true;
    take_events(*text, filter, events);
  }
  if (!has_history) return fail(answer.error());
  return events;
}

std::string render_event(const control::EventRecord& event, bool with_colour) {
  std::string time = control::format_time(event.time).substr(0, 23);
  time[10] = ' ';
  std::string who = event.child;
  if (event.generation > 0) who += fmt::format("#{}", event.generation);
  // The core's texts begin with the child's name, which has a column of its own here.
  std::string_view text = event.text;
  for (const std::string_view gap : {": ", " "}) {
    const std::string prefix = event.child + std::string(gap);
    if (event.child.empty() || text.substr(0, prefix.size()) != prefix) continue;
    text.remove_prefix(prefix.size());
    break;
  }
  return fmt::format(
      "{}  {}  {:<12}  {}", paint(time, Colour::Dim, with_colour),
      paint(fmt::format("{:<7}", event.level), level_colour(event.level), with_colour),
      who.empty() ? "-" : who, text);
}

}  // namespace pillion::supervisor::cli
