#include "supervisor/cli/logs_command.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <vector>

#include "runtime/json_text.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/log_files.h"
#include "supervisor/cli/log_records.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/service_status.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/control/time_text.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::cli {

namespace {

// How long a new line may wait to be shown while following.
constexpr int kFollowPeriodMs = 100;

// A record that is kept until all of its round can be sorted.
struct Line {
  WallTime time;
  std::size_t child = 0;
  std::string text;  // the whole record
  std::uint64_t generation = 0;
};

class LogView {
 public:
  LogView(const LogsOptions& options, std::string directory)
      : options_(options), directory_(std::move(directory)) {}

  // False when there is nothing to show and never will be.
  bool open() {
    children_ = list_logged_children(directory_);
    if (!options_.child.empty()) {
      const bool is_there =
          std::find(children_.begin(), children_.end(), options_.child) != children_.end();
      if (!is_there && !options_.is_following) return false;
      children_ = {options_.child};
    }
    for (const std::string& child : children_) {
      followers_.push_back(std::make_unique<LogFollower>(directory_, child));
    }
    return options_.is_following || !children_.empty();
  }

  const std::vector<std::string>& children() const { return children_; }
  void set_generations(std::map<std::string, std::uint64_t> running) {
    generations_ = std::move(running);
  }

  void show_round(bool is_first) {
    if (!is_first) take_new_children();
    std::vector<Line> lines;
    for (std::size_t child = 0; child < followers_.size(); ++child) {
      followers_[child]->read([&](std::string_view text) {
        const auto record = parse_log_record(text);
        if (!record || (options_.since && record->time < *options_.since)) return;
        lines.push_back({record->time, child, std::string(text), record->generation});
      });
    }
    if (options_.is_previous) keep_previous_generation(lines);
    std::stable_sort(lines.begin(), lines.end(),
                     [](const Line& a, const Line& b) { return a.time < b.time; });
    std::size_t first = 0;
    if (is_first && options_.tail && lines.size() > *options_.tail) {
      first = lines.size() - *options_.tail;
    }
    for (std::size_t i = first; i < lines.size(); ++i) print(lines[i]);
    std::fflush(stdout);
  }

 private:
  // A generation that runs, and has printed nothing yet, is the last one all the same.
  void keep_previous_generation(std::vector<Line>& lines) const {
    std::vector<std::uint64_t> last(children_.size());
    std::vector<std::uint64_t> before(children_.size());
    for (std::size_t child = 0; child < children_.size(); ++child) {
      const auto running = generations_.find(children_[child]);
      if (running != generations_.end()) last[child] = running->second;
    }
    for (const Line& line : lines) last[line.child] = std::max(last[line.child], line.generation);
    for (const Line& line : lines) {
      if (line.generation >= last[line.child]) continue;
      before[line.child] = std::max(before[line.child], line.generation);
    }
    std::erase_if(lines, [&](const Line& line) {
      return line.generation == 0 || line.generation != before[line.child];
    });
  }

  void take_new_children() {
    if (!options_.child.empty()) return;
    for (const std::string& child : list_logged_children(directory_)) {
      if (std::find(children_.begin(), children_.end(), child) != children_.end()) continue;
      children_.push_back(child);
      followers_.push_back(std::make_unique<LogFollower>(directory_, child));
    }
  }

  void print(const Line& line) const {
    const auto record = parse_log_record(line.text);
    if (!record) return;
    const std::string& child = children_[line.child];
    if (options_.is_json) {
      std::string json = fmt::format(R"({{"time":"{}","child":"{}","stream":"{}","generation":{},)",
                                     record->time_text, child, record->stream, record->generation);
      json += R"("text":)";
      append_json_string(json, record->text);
      fmt::print("{}{}\n", json, "}");
      return;
    }
    if (children_.size() > 1) {
      static constexpr Colour kColours[] = {Colour::Cyan, Colour::Green, Colour::Yellow,
                                            Colour::Bold};
      fmt::print("{} ",
                 paint(fmt::format("{:<{}}", child, name_width()),
                       kColours[line.child % std::size(kColours)], wants_colour(STDOUT_FILENO)));
    }
    std::fwrite(record->text.data(), 1, record->text.size(), stdout);
    if (!record->is_partial || children_.size() > 1) std::fputc('\n', stdout);
  }

  std::size_t name_width() const {
    std::size_t width = 0;
    for (const std::string& child : children_) width = std::max(width, child.size());
    return width;
  }

  const LogsOptions& options_;
  std::string directory_;
  std::vector<std::string> children_;
  std::vector<std::unique_ptr<LogFollower>> followers_;
  std::map<std::string, std::uint64_t> generations_;  // of children that run; for --previous
};

std::map<std::string, std::uint64_t> running_generations(const std::string& service) {
  std::map<std::string, std::uint64_t> generations;
  const auto report = fetch_status(service);
  if (!report) return generations;  // it has ended: its logs say all
  for (const auto& child : report->service.children) generations[child.name] = child.generation;
  return generations;
}

}  // namespace

int show_logs(const LogsOptions& options) {
  const std::string service = service_name_of(options.name);
  const std::string directory = host::service_paths(service).log;
  LogView view(options, directory);
  if (!view.open()) {
    if (view.children().empty()) {
      fmt::print(stderr, "pillion: no output of \"{}\" in {}; `pillion status` lists what runs\n",
                 service, directory);
    } else {
      std::string names;
      for (const auto& child : view.children()) names += (names.empty() ? "" : ", ") + child;
      fmt::print(stderr, "pillion: \"{}\" has no child \"{}\" with output; there are: {}\n",
                 service, options.child, names);
    }
    return kExitFailed;
  }
  if (options.is_previous) view.set_generations(running_generations(service));
  view.show_round(true);
  while (options.is_following) {
    // Ends by a signal, or when nobody reads any more.
    pollfd reader{STDOUT_FILENO, 0, 0};
    ::poll(&reader, 1, kFollowPeriodMs);
    if ((reader.revents & (POLLERR | POLLHUP)) != 0 || std::ferror(stdout)) return kExitOk;
    view.show_round(false);
  }
  return kExitOk;
}

std::string check_since(const std::string& text) {
  return control::parse_since(text, SystemClock().wall_now())
             ? std::string()
             : fmt::format(
                   "\"{}\" is neither a duration such as 10m nor a time such as "
                   "2024-01-15T14:32:01Z",
                   text);
}

void add_logs(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<LogsOptions>();  // shared with the callbacks
  CLI::App* logs = app.add_subcommand("logs", "Show what the children of a service print");
  logs->add_option("NAME", options->name, "The service")->required();
  logs->add_option("CHILD", options->child, "Only this child (default: all, by time)");
  logs->add_flag("-f,--follow", options->is_following, "Go on with what is printed from now on");
  logs->add_option_function<std::string>(
          "--since",
          [options](const std::string& text) {
            options->since = control::parse_since(text, SystemClock().wall_now());
          },
          "10m (ago) or 2024-01-15T14:32:01Z")
      ->check(check_since);
  logs->add_option("-n,--tail", options->tail, "Only the last so many lines");
  logs->add_flag("-p,--previous", options->is_previous,
                 "Only what the generation before the last one printed");
  logs->add_flag("--json", options->is_json, "One object per line");
  logs->callback([options, &exit_code] { exit_code = show_logs(*options); });
}

}  // namespace pillion::supervisor::cli
