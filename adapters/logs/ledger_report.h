// What became of every record, per output and input: as the running adapter answers on /ledger, and
// as `pillion-logs ledger` shows it, from the adapter or from the checkpoint it has left.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/logs/follow/ledger.h"
#include "config/logs.h"
#include "runtime/result.h"

namespace pillion::logs {

struct OutputLedger {
  std::string output;
  std::vector<InputLedger> inputs;  // of all runs since the first checkpoint
  std::optional<Ledger> run;        // of this run; none when the adapter does not run
  // What is in the files and not read yet: known of those the adapter follows, or left behind.
  std::uint64_t bytes_unread = 0;
  std::string trouble;  // why nothing moves, empty when it does
};

// {"outputs":[{"output":…,"read":…,"delivered":…,"dropped":…,"filtered":…,"pending":…,
// "bytes_unread":…,"trouble":…,"inputs":[{"input":…,…}]}]}: the numbers of an output are those of
// this run (absent when there is none), those of its inputs are of all runs.
std::string to_json(const std::vector<OutputLedger>& ledgers);
Result<std::vector<OutputLedger>> parse_ledgers(std::string_view json);

// A table for people.
std::string render_ledgers(const std::vector<OutputLedger>& ledgers);

// From the checkpoints that an adapter with this configuration has left; the error says where none
// was found.
Result<std::vector<OutputLedger>> read_left_ledgers(const config::LogsConfig& config,
                                                    const std::string& service,
                                                    const std::string& child);

}  // namespace pillion::logs
