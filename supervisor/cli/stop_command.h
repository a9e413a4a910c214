// `pillion stop`: waits for the end and prints the receipt.
#pragma once

#include <optional>
#include <string>

#include "runtime/clock.h"

namespace pillion::supervisor::cli {

struct StopOptions {
  std::string name;
  std::string child;              // empty = the service
  std::optional<Duration> grace;  // empty = the service's own
  bool is_json = false;
};
int stop_service(const StopOptions& options);

}  // namespace pillion::supervisor::cli
