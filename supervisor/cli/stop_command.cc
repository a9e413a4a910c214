#include "supervisor/cli/stop_command.h"

#include <fcntl.h>
#include <sys/file.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <thread>

#include <fmt/format.h>

#include "config/parse_units.h"
#include "runtime/fd.h"
#include "supervisor/cli/api_client.h"
#include "supervisor/cli/child_call.h"
#include "supervisor/cli/cli.h"
#include "supervisor/cli/commands.h"
#include "supervisor/cli/running_services.h"
#include "supervisor/control/status_report.h"
#include "supervisor/host/service_paths.h"

namespace pillion::supervisor::cli {

namespace {

// A stop has a deadline of its own; ours only guards against a supervisor that hangs.
constexpr Duration kStopTimeout = std::chrono::hours(24);
// The keeper only has to remove its directory: five seconds at most.
constexpr auto kKeeperPoll = std::chrono::milliseconds(5);
constexpr int kKeeperPolls = 1000;

// {"receipt":{…}} → the object inside; empty for anything else.
std::string receipt_of(const std::string& reply) {
  constexpr std::string_view prefix = R"({"receipt":)";
  if (reply.compare(0, prefix.size(), prefix) != 0 || reply.back() != '}') return {};
  return reply.substr(prefix.size(), reply.size() - prefix.size() - 1);
}

std::string stop_body(std::optional<Duration> grace) {
  if (!grace) return "{}";
  return fmt::format(R"({{"grace":"{}ms"}})",
                     std::chrono::duration_cast<std::chrono::milliseconds>(*grace).count());
}

// A supervisor that is replaced in the middle of the stop drops the connection; its successor goes
// on with the same stop, and asking again only waits for it.
Result<std::string> ask_for_stop(const StopOptions& options) {
  auto reply =
      call_api(options.name, "POST", "/v1/stop?wait=1", stop_body(options.grace), kStopTimeout);
  while (!reply && reply.error().errno_value() == ECONNRESET) {
    reply =
        call_api(options.name, "POST", "/v1/stop?wait=1", stop_body(options.grace), kStopTimeout);
    if (!reply && reply.error().errno_value() == ENOENT) {
      return fail("the service ended without a receipt");
    }
  }
  return reply;
}

// The receipt comes a moment before the keeper ends. Afterwards the service can be started again or
// cleaned up at once.
void wait_for_keeper(const std::string& name) {
  const std::string path = host::service_paths(service_name_of(name)).runtime + "/lock";
  for (int i = 0; i < kKeeperPolls; ++i) {
    const Fd lock(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!lock || ::flock(lock.get(), LOCK_SH | LOCK_NB) == 0) return;
    std::this_thread::sleep_for(kKeeperPoll);
  }
}

}  // namespace

int stop_service(const StopOptions& options) {
  if (!options.child.empty()) {
    return ask_for("stop", {options.name, options.child, true, options.grace, {}, options.is_json});
  }
  const auto reply = ask_for_stop(options);
  if (!reply) return complain(reply.error());
  wait_for_keeper(options.name);
  const std::string json = receipt_of(*reply);
  if (options.is_json) {
    fmt::print("{}\n", json);
    return kExitOk;
  }
  const auto receipt = control::parse_receipt(json);
  if (!receipt) return complain(receipt.error());
  fmt::print("{} {}", service_name_of(options.name), core::describe(*receipt));
  return kExitOk;
}

void add_stop(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<StopOptions>();  // shared with the callbacks
  CLI::App* stop = app.add_subcommand(
      "stop", "Drain and stop a service, and print the receipt; or stop a child");
  stop->add_option("NAME", options->name, "The service")->required();
  stop->add_option("CHILD", options->child, "Only this child; it stays down until it is started");
  stop->add_option_function<std::string>(
          "--grace",
          [options](const std::string& text) {
            if (const auto grace = config::parse_duration(text)) options->grace = *grace;
          },
          "Time for the whole stop, instead of stop_grace")
      ->check(check_duration);
  stop->add_flag("--json", options->is_json, "The receipt as JSON");
  stop->callback([options, &exit_code] { exit_code = stop_service(*options); });
}

}  // namespace pillion::supervisor::cli
