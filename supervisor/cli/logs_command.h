// `pillion logs`: the output of a service's children, from the files that the supervisor writes. It
// works while the service runs and afterwards.
#pragma once

#include <optional>
#include <string>

#include "runtime/clock.h"

namespace pillion::supervisor::cli {

struct LogsOptions {
  std::string name;
  std::string child;                // empty = all, merged by time
  bool is_following = false;        // until interrupted
  bool is_previous = false;         // only the generation before the last one of each child
  std::optional<WallTime> since;    // records of this time and later
  std::optional<std::size_t> tail;  // only the last so many records
  bool is_json = false;
};

int show_logs(const LogsOptions& options);

}  // namespace pillion::supervisor::cli
