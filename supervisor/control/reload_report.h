// What a reload does or would do: the answer to POST /v1/reload. Both directions are here, so that
// server and client cannot drift.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/differences.h"
#include "runtime/clock.h"
#include "runtime/result.h"

namespace pillion::supervisor::control {

struct ReloadedChild {
  std::string name;
  std::string role;    // "sidecar"
  std::string change;  // "none", "in_place", "reload", "replace", "start" or "stop"
  // How long it took to be ready the last time; empty for one that is not started anew, or that
  // the history does not know.
  std::optional<Duration> usually_ready_after;
  bool operator==(const ReloadedChild&) const = default;
};

struct ReloadReport {
  std::string service;
  std::string file;
  bool is_dry_run = false;
  bool is_changed = false;                  // false: there is nothing to do
  std::vector<std::string> restart_needed;  // tables that a reload cannot apply; then nothing is
  std::vector<ReloadedChild> children;      // in start order, then those that go
  std::vector<config::Difference> differences;
  std::string warnings;  // of the file, as `pillion check` prints them
  bool operator==(const ReloadReport&) const = default;
};

// One line without a newline.
std::string to_json(const ReloadReport& report);
Result<ReloadReport> parse_reload_report(std::string_view json);

}  // namespace pillion::supervisor::control
