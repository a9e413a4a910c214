// `pillion status`.
#pragma once

#include <string>
#include <vector>

#include "supervisor/control/status_report.h"

namespace pillion::supervisor::cli {

struct StatusOptions {
  std::vector<std::string> names;  // empty = all that run
  bool is_json = false;            // one object for one name, else an array
};
int show_status(const StatusOptions& options);

// The table of one service.
std::string render_status(const control::StatusReport& report, bool with_colour);

}  // namespace pillion::supervisor::cli
