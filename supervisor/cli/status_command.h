// `pillion status` and `pillion stop`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/clock.h"
#include "supervisor/control/status_report.h"

namespace pillion::supervisor::cli {

struct StatusOptions {
  std::vector<std::string> names;  // empty = all that run
  bool is_json = false;            // one object for one name, else an array
};
int show_status(const StatusOptions& options);

// The table of one service.
std::string render_status(const control::StatusReport& report, bool with_colour);

struct StopOptions {
  std::string name;
  std::optional<Duration> grace;  // empty = the service's own
  bool is_json = false;
};
// Waits for the end and prints the receipt.
int stop_service(const StopOptions& options);

}  // namespace pillion::supervisor::cli
