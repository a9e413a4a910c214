// `pillion timeline`: where the time of the last start and the last stop went.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "runtime/fd.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/event_source.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/cli/timeline_render.h"

namespace pillion::supervisor::cli {

namespace {

struct TimelineOptions {
  std::string name;
  std::string svg_file;  // "-" = stdout
  bool is_json = false;
};

std::size_t bar_width() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 50;
  return std::clamp<std::size_t>(size.ws_col / 2, 20, 100);
}

int show_timeline(const TimelineOptions& options) {
  const auto events = fetch_events(options.name, {});
  if (!events) return complain(events.error());
  const control::Timeline timeline = control::make_timeline(*events);
  const std::string service = service_name_of(options.name);
  if (options.is_json) {
    fmt::print("{}\n", control::to_json(timeline));
    return kExitOk;
  }
  if (!options.svg_file.empty()) {
    const std::string picture = render_timeline_svg(service, timeline);
    if (options.svg_file == "-") {
      fmt::print("{}", picture);
      return kExitOk;
    }
    const auto written = write_file_atomically(options.svg_file, picture, 0644);
    return written ? kExitOk : complain(written.error());
  }
  if (!timeline.start && !timeline.stop) {
    return complain(Error("the events of " + service + " do not reach back to a start or a stop"));
  }
  fmt::print("{}", render_timeline(service, timeline, bar_width(), wants_colour(STDOUT_FILENO)));
  return kExitOk;
}

}  // namespace

void add_timeline(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<TimelineOptions>();  // shared with the callback
  CLI::App* timeline =
      app.add_subcommand("timeline", "Show where the time of the last start and stop went");
  timeline->add_option("NAME", options->name, "The service")->required();
  timeline->add_option("--svg", options->svg_file, "Write a picture to this file (- for stdout)");
  timeline->add_flag("--json", options->is_json, "The segments as JSON");
  timeline->callback([options, &exit_code] { exit_code = show_timeline(*options); });
}

}  // namespace pillion::supervisor::cli
