// What a stop did, printed by `pillion stop` and at the end of `pillion run`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/clock.h"

namespace pillion::supervisor::core {

struct ReceiptPhase {
  std::string name;  // "delay and hooks", "app", "helpers", "clean-up"
  Duration duration{};
};

struct Receipt {
  std::string reason;  // why the service stopped
  int exit_code = 0;
  Duration total{};
  std::vector<ReceiptPhase> phases;
  std::vector<std::string> killed;  // children that did not end by themselves
  std::vector<std::string> stuck;   // children that even SIGKILL did not end

  // What the components counted, summed over them by key ("requests_finished"), and per child.
  std::map<std::string, std::int64_t> counts;
  std::map<std::string, std::map<std::string, std::int64_t>> counts_by_child;

  // 0 when no component said.
  std::int64_t count(const std::string& key) const;
};

// A few lines for people.
std::string describe(const Receipt& receipt);

}  // namespace pillion::supervisor::core
