// `pillion top`: what the children of the services here use, live in a terminal, or once.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "config/parse_units.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/cli/text_table.h"
#include "supervisor/cli/top_screen.h"

namespace pillion::supervisor::cli {

namespace {

using Json = nlohmann::json;

struct TopOptions {
  std::vector<std::string> names;
  Duration interval = std::chrono::seconds(2);
  char order = 'f';  // as the file, 'c' CPU, 'm' memory
  bool is_once = false;
  bool is_json = false;
};

// One answer, and when it came.
struct Look {
  std::string name;
  Json usage;         // empty when nobody answered
  std::string error;  // why not
  MonotonicTime at{};
};
using Looks = std::vector<Look>;

Looks look_at_all(const TopOptions& options) {
  Looks looks;
  for (const std::string& name : options.names.empty() ? list_services() : options.names) {
    const auto answer = call_api(name, "GET", "/v1/usage");
    // A directory that a crashed service left is no news when all were asked for.
    const bool is_left = !answer && answer.error().errno_value() == ENOENT;
    if (is_left && options.names.empty()) continue;
    Look look{name, Json(), "", SystemClock().now()};
    if (answer) look.usage = Json::parse(*answer, nullptr, false);
    if (!look.usage.is_object()) look.error = answer ? "not JSON" : answer.error().message();
    looks.push_back(std::move(look));
  }
  return looks;
}

double number(const Json& json, const char* key, double none = -1) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>() : none;
}

const Json* find_child(const Looks& looks, const std::string& service, const Json& child) {
  for (const Look& look : looks) {
    if (look.name != service || !look.usage.is_object()) continue;
    for (const Json& each : look.usage.value("children", Json::array())) {
      if (each.value("name", "") == child.value("name", "") &&
          each.value("generation", 0) == child.value("generation", 0)) {
        return &each;
      }
    }
  }
  return nullptr;
}

// One child, with rates over the time since the look before.
struct Row {
  Json child;
  double cpu = -1;  // CPUs
  double read_rate = -1;
  double write_rate = -1;
};

double rate(const Json& now, const Json& before, const char* key, double seconds) {
  const double after = number(now, key);
  const double earlier = number(before, key);
  return after < 0 || earlier < 0 || seconds <= 0 ? -1 : std::max(0.0, after - earlier) / seconds;
}

std::vector<Row> rows_of(const Look& look, const Looks& before, char order) {
  std::vector<Row> rows;
  for (const Json& child : look.usage.value("children", Json::array())) {
    Row row{child, number(child, "cpu")};
    for (const Look& earlier : before) {
      if (earlier.name != look.name) continue;
      const double seconds = std::chrono::duration<double>(look.at - earlier.at).count();
      const Looks one = {earlier};
      if (const Json* was = find_child(one, look.name, child)) {
        row.cpu = rate(child, *was, "cpu_seconds", seconds);
        row.read_rate = rate(child, *was, "io_read_bytes", seconds);
        row.write_rate = rate(child, *was, "io_written_bytes", seconds);
      }
    }
    rows.push_back(std::move(row));
  }
  if (order == 'c') {
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Row& a, const Row& b) { return a.cpu > b.cpu; });
  }
  if (order == 'm') {
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
      return number(a.child, "memory_bytes") > number(b.child, "memory_bytes");
    });
  }
  return rows;
}

std::string bytes_cell(double bytes) {
  return bytes < 0 ? "-" : format_bytes(static_cast<std::uint64_t>(bytes));
}

// A share of a limit: red when it is nearly used up.
Cell share_cell(double used, double limit) {
  if (used < 0 || limit <= 0) return {"-"};
  const double share = used / limit;
  const Colour colour = share >= 0.9 ? Colour::Red : share >= 0.7 ? Colour::Yellow : Colour::None;
  return {fmt::format("{:.0f}%", share * 100), colour};
}

std::vector<Cell> cells_of(const Row& row) {
  const Json& child = row.child;
  const double memory = number(child, "memory_bytes");
  const double memory_limit = number(child, "memory_limit_bytes");
  const double cpu_limit = number(child, "cpu_limit");
  const double throttled = number(child, "throttled_share");
  const double oom_kills = number(child, "oom_kills", 0);
  return {
      {child.value("name", "?")},
      {child.value("state", "?"), child.value("ready", false) ? Colour::Green : Colour::Yellow},
      {row.cpu < 0 ? "-" : fmt::format("{:.1f}%", row.cpu * 100)},
      {cpu_limit < 0 ? "-" : fmt::format("{:.0f}%", cpu_limit * 100)},
      throttled <= 0 ? Cell{"-"}
                     : Cell{fmt::format("{:.0f}%", throttled * 100),
                            throttled >= 0.25 ? Colour::Red : Colour::None},
      {bytes_cell(memory)},
      {bytes_cell(memory_limit)},
      share_cell(number(child, "working_set_bytes", memory), memory_limit),
      {number(child, "processes") < 0 ? "-" : fmt::format("{:.0f}", number(child, "processes"))},
      {fmt::format("{:.0f}", number(child, "restarts", 0))},
      oom_kills > 0 ? Cell{fmt::format("{:.0f}", oom_kills), Colour::Red} : Cell{"-"},
      {row.read_rate < 0 ? "" : bytes_cell(row.read_rate)},
      {row.write_rate < 0 ? "" : bytes_cell(row.write_rate)}};
}

std::string render(const Looks& looks, const Looks& before, char order, bool with_colour) {
  std::string out;
  for (const Look& look : looks) {
    if (!out.empty()) out += '\n';
    out += paint(look.name, Colour::Bold, with_colour);
    if (!look.error.empty()) {
      out += "  " + look.error + "\n";
      continue;
    }
    const bool is_ready = look.usage.value("ready", false);
    const auto up = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(number(look.usage, "up_seconds", 0)));
    out += fmt::format("  {}, {}, up {}\n", look.usage.value("state", "?"),
                       paint(is_ready ? "ready" : "not ready",
                             is_ready ? Colour::Green : Colour::Yellow, with_colour),
                       format_duration(up));
    std::vector<std::vector<Cell>> table(1);
    for (const char* title : {"CHILD", "STATE", "CPU", "OF", "HELD", "MEMORY", "OF", "USED",
                              "PROCS", "RESTARTS", "OOM", "READ/S", "WRITE/S"}) {
      table.front().push_back({title, Colour::Dim});
    }
    for (const Row& row : rows_of(look, before, order)) table.push_back(cells_of(row));
    out += render_table(table, "  ", with_colour);
  }
  if (looks.empty()) out = "no service is running here; start one with `pillion run FILE`\n";
  return out;
}

int show_once(const TopOptions& options) {
  const Looks looks = look_at_all(options);
  int exit_code = kExitOk;
  Json all = Json::array();
  for (const Look& look : looks) {
    if (!look.error.empty()) exit_code = complain(Error(look.error));
    if (look.error.empty()) all.push_back(look.usage);
  }
  if (options.is_json) {
    fmt::print("{}\n", all.dump());
  } else if (exit_code == kExitOk) {
    fmt::print("{}", render(looks, {}, options.order, wants_colour(STDOUT_FILENO)));
  }
  return exit_code;
}

int show_live(const TopOptions& options) {
  auto screen = TopScreen::open();
  if (!screen) return complain(screen.error());
  const SystemClock clock;
  Looks before;
  Looks looks = look_at_all(options);
  MonotonicTime next = clock.now() + options.interval;
  for (char order = options.order;;) {
    std::string text = render(looks, before, order, wants_colour(STDOUT_FILENO));
    text += "\n" + paint("q quits; sorted by c CPU, m memory, f file", Colour::Dim,
                         wants_colour(STDOUT_FILENO));
    screen->draw(text);
    char key = 0;
    switch (screen->wait(next - clock.now(), key)) {
      case TopScreen::Wake::Quit: return kExitOk;
      case TopScreen::Wake::Key:
        if (key == 'q' || key == 'Q' || key == '\x03') return kExitOk;
        if (key == 'c' || key == 'm' || key == 'f') order = key;
        break;
      case TopScreen::Wake::Resized: break;
      case TopScreen::Wake::Timeout:
        before = std::move(looks);
        looks = look_at_all(options);
        next = clock.now() + options.interval;
        break;
    }
  }
}

}  // namespace

void add_top(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<TopOptions>();  // shared with the callbacks
  CLI::App* top = app.add_subcommand("top", "Show live what the children use; q quits");
  top->add_option("NAME", options->names, "Services (default: all that run here)");
  top->add_option_function<std::string>(
         "-d,--interval",
         [options](const std::string& text) {
           const auto interval = config::parse_duration(text);
           if (interval)
             options->interval = std::max<Duration>(*interval, std::chrono::milliseconds(100));
         },
         "Between two looks (2s)")
      ->check(check_duration);
  top->add_option_function<std::string>(
         "--sort",
         [options](const std::string& word) {
           options->order = word == "file" ? 'f' : word.front();
         },
         "By cpu, memory, or as in the file")
      ->check(CLI::IsMember({"cpu", "memory", "file"}));
  top->add_flag("--once", options->is_once, "Print once and end, as without a terminal");
  top->add_flag("--json", options->is_json, "One look as an array of objects");
  top->callback([options, &exit_code] {
    const bool is_live = !options->is_once && !options->is_json && ::isatty(STDIN_FILENO) == 1 &&
                         ::isatty(STDOUT_FILENO) == 1;
    exit_code = is_live ? show_live(*options) : show_once(*options);
  });
}

}  // namespace pillion::supervisor::cli
