#include "supervisor/host/events_api.h"

#include <charconv>
#include <utility>

#include "supervisor/control/time_text.h"
#include "supervisor/control/timeline.h"

namespace pillion::supervisor::host {
namespace {

// An empty line now and then finds clients that have gone without a word.
constexpr Duration kHeartbeat = std::chrono::seconds(15);

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return number;
}

Result<control::EventFilter> read_filter(const control::ApiRequest& request) {
  control::EventFilter filter;
  if (const auto since = request.query("since")) {
    const auto time = control::parse_since(*since, SystemClock().wall_now());
    if (!time) return fail("`since` is a duration such as 10m or a time in RFC 3339");
    filter.since = *time;
  }
  if (const auto after = request.query("after")) {
    const auto sequence = parse_number(*after);
    if (!sequence) return fail("`after` is the sequence number of an event");
    filter.after = *sequence;
  }
  filter.child = request.query("child").value_or("");
  filter.level = request.query("level").value_or("debug");
  if (control::level_rank(filter.level) < 0) {
    return fail("`level` is one of debug, info, warning, error");
  }
  return filter;
}

}  // namespace

EventsApi::EventsApi(Loop& loop, control::Api& api, EventHistory& history)
    : history_(history), heartbeat_(loop) {
  api.add("GET", "/v1/events",
          [this](const control::ApiRequest& request, control::Responder reply) {
            list(request, reply);
          });
  api.add("GET", "/v1/timeline", [this](const control::ApiRequest&, control::Responder reply) {
    std::vector<control::EventRecord> events;
    for (const auto* event : history_.select({})) events.push_back(*event);
    reply.json(200, control::to_json(control::make_timeline(events)));
  });
  history_.on_added([this](const control::EventRecord& event) { send(event); });
}

EventsApi::~EventsApi() { history_.on_added(nullptr); }

void EventsApi::finish() {
  for (Follower& follower : followers_) follower.stream.end();
  followers_.clear();
}

void EventsApi::list(const control::ApiRequest& request, const control::Responder& reply) {
  auto filter = read_filter(request);
  if (!filter) return reply.error(400, filter.error().message());
  std::size_t count_max = EventHistory::kEventsMax;
  if (const auto limit = request.query("limit")) {
    const auto number = parse_number(*limit);
    if (!number) return reply.error(400, "`limit` is a number of events");
    count_max = *number;
  }
  std::string lines;
  for (const auto* event : history_.select(*filter, count_max)) {
    lines += control::to_json(*event) + "\n";
  }
  if (!request.has_flag("follow")) {
    return reply.text(200, "application/x-ndjson", std::move(lines));
  }
  reply.stream(std::move(lines), [this, filter = std::move(*filter)](HttpStream stream) {
    followers_.push_back({filter, std::move(stream)});
    if (!heartbeat_.is_active()) heartbeat_.start(kHeartbeat, kHeartbeat, [this] { beat(); });
  });
}

void EventsApi::send(const control::EventRecord& event) {
  if (followers_.empty()) return;
  const std::string line = control::to_json(event) + "\n";
  std::erase_if(followers_, [&](Follower& follower) {
    return follower.filter.matches(event) ? !follower.stream.write(line)
                                          : !follower.stream.is_open();
  });
}

void EventsApi::beat() {
  std::erase_if(followers_, [](Follower& follower) { return !follower.stream.write("\n"); });
  if (followers_.empty()) heartbeat_.stop();
}

}  // namespace pillion::supervisor::host
