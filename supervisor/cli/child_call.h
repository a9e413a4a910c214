// One wish about a child, or the restart of a service, as the control API takes it.
#pragma once

#include <optional>
#include <string>

#include "runtime/clock.h"

namespace pillion::supervisor::cli {

struct ChildWish {
  std::string name;
  std::string child;  // empty = the service, for restart only
  bool waits = false;
  std::optional<Duration> grace;    // of stop
  std::optional<Duration> timeout;  // of the waiting
  bool is_json = false;
};

// `verb` is "start", "stop", "restart" or "retry". Prints what came of it; returns the exit code.
int ask_for(const char* verb, const ChildWish& wish);

}  // namespace pillion::supervisor::cli
