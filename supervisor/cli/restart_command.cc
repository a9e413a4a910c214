// `pillion restart` and `pillion retry`.
#include <CLI/CLI.hpp>
#include <memory>

#include "config/parse_units.h"
#include "supervisor/cli/child_call.h"
#include "supervisor/cli/commands.h"

namespace pillion::supervisor::cli {

void add_restart(CLI::App& app, int& exit_code) {
  auto wish = std::make_shared<ChildWish>();  // shared with the callbacks
  CLI::App* restart = app.add_subcommand(
      "restart", "Restart a child; without one, all children in order, within the same network");
  restart->add_option("NAME", wish->name, "The service")->required();
  restart->add_option("CHILD", wish->child, "Only this child");
  restart->add_flag("-w,--wait", wish->waits, "Until the new generation is ready");
  restart
      ->add_option_function<std::string>(
          "--timeout",
          [wish](const std::string& text) {
            if (const auto timeout = config::parse_duration(text)) wish->timeout = *timeout;
          },
          "Of the waiting (10m)")
      ->check(check_duration);
  restart->add_flag("--json", wish->is_json, "The answer as JSON");
  restart->callback([wish, &exit_code] { exit_code = ask_for("restart", *wish); });
}

void add_retry(CLI::App& app, int& exit_code) {
  struct Options {
    ChildWish wish;
    bool is_now = false;  // there is no other way to retry; the flag says it aloud
  };
  auto options = std::make_shared<Options>();  // shared with the callback
  CLI::App* retry =
      app.add_subcommand("retry", "Start a child now that waits for its backoff or has given up");
  retry->add_option("NAME", options->wish.name, "The service")->required();
  retry->add_option("CHILD", options->wish.child, "The child")->required();
  retry->add_flag("--now", options->is_now, "Do not wait for the backoff (always so)");
  retry->add_flag("-w,--wait", options->wish.waits, "Until it is ready");
  retry->add_flag("--json", options->wish.is_json, "The answer as JSON");
  retry->callback([options, &exit_code] { exit_code = ask_for("retry", options->wish); });
}

}  // namespace pillion::supervisor::cli
