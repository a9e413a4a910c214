// `pillion events`: what happened to a service, and what happens.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/event_source.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/control/time_text.h"

namespace pillion::supervisor::cli {

namespace {

struct EventsOptions {
  std::string name;
  control::EventFilter filter;
  std::size_t tail = 0;  // 0 = all
  bool is_following = false;
  bool is_json = false;
};

void print(const control::EventRecord& event, bool is_json) {
  static const bool with_colour = wants_colour(STDOUT_FILENO);
  fmt::print("{}\n", is_json ? control::to_json(event) : render_event(event, with_colour));
}

// Until the service has ended, over restarts of its supervisor.
int follow(EventsOptions options) {
  bool is_connected_once = false;
  for (;;) {
    const std::string query = query_of(options.filter);
    const auto done =
        follow_api(options.name, "/v1/events" + query + (query.empty() ? "?" : "&") + "follow=1",
                   [&](std::string_view line) {
                     is_connected_once = true;
                     const auto event = control::parse_event(line);
                     if (!event) return true;
                     options.filter.after = event->sequence;
                     print(*event, options.is_json);
                     return std::fflush(stdout) == 0;
                   });
    if (std::ferror(stdout) != 0) return kExitOk;  // nobody reads any more
    if (done) continue;
    const int reason = done.error().errno_value();
    if (reason == ENOENT && is_connected_once) return kExitOk;
    if (reason != ECONNRESET) return complain(done.error());
  }
}

int show_events(const EventsOptions& options) {
  if (options.is_following) return follow(options);
  const auto events = fetch_events(options.name, options.filter);
  if (!events) return complain(events.error());
  std::size_t first = 0;
  if (options.tail > 0 && events->size() > options.tail) first = events->size() - options.tail;
  for (std::size_t i = first; i < events->size(); ++i) print((*events)[i], options.is_json);
  return kExitOk;
}

}  // namespace

void add_events(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<EventsOptions>();  // shared with the callbacks
  CLI::App* events = app.add_subcommand("events", "Show what happened to a service, and when");
  events->add_option("NAME", options->name, "The service")->required();
  events->add_option("CHILD", options->filter.child, "Only of this child");
  events->add_flag("-f,--follow", options->is_following, "Go on with what happens from now on");
  events
      ->add_option_function<std::string>(
          "--since",
          [options](const std::string& text) {
            const auto since = control::parse_since(text, SystemClock().wall_now());
            if (since) options->filter.since = *since;
          },
          "10m (ago) or 2024-01-15T14:32:01Z")
      ->check(check_since);
  events->add_option("--level", options->filter.level, "debug (default), info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  events->add_option("-n,--tail", options->tail, "Only the last so many");
  events->add_flag("--json", options->is_json, "One object per line");
  events->callback([options, &exit_code] { exit_code = show_events(*options); });
}

}  // namespace pillion::supervisor::cli
