// What the host remembers of deploys beside the core's snapshot, so that a supervisor that is
// killed in the middle of one goes on with it: ports of the app's slots, and how the last one
// ended.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/result.h"
#include "supervisor/core/ids.h"
#include "supervisor/host/app_template.h"

namespace pillion::supervisor::host {

struct DeployOutcome {
  std::uint64_t number = 0;  // of the deploy, from 1
  bool is_promoted = false;
  std::uint64_t generation = 0;    // the one that it brought
  std::string reason;              // of a rollback
  std::vector<std::string> lines;  // of a rollback: the last output of that generation
};

struct DeployRecord {
  std::map<core::ChildId, AppPortMap> slots;  // of the app: where each one serves
  AppPortMap next_ports;                      // of the deploy that begins
  std::int64_t drain_milliseconds = 0;        // for what the old app has begun
  AppPortMap traffic;       // where the proxy sends requests; empty: to the own ports
  std::uint64_t count = 0;  // deploys begun in this run
  std::string source;       // what the app was last deployed from
  std::optional<DeployOutcome> last;
};

std::string to_json(const DeployRecord& record);
Result<DeployRecord> parse_deploy_record(std::string_view json);

// `{"number":1,"promoted":true,…}`
std::string to_json(const DeployOutcome& outcome);

}  // namespace pillion::supervisor::host
