// From the configuration to pipelines: formats, envelopes, paths of state files, outputs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "adapters/logs/encode/encoder.h"
#include "adapters/logs/pipeline.h"
#include "adapters/logs/receive/receiver.h"
#include "config/logs.h"
#include "runtime/clock.h"
#include "runtime/loop.h"
#include "runtime/result.h"

namespace pillion::logs {

// What the surroundings say, read once.
struct Surroundings {
  std::string service;  // PILLION_SERVICE
  std::string child;    // PILLION_CHILD
  std::string host_name;
  std::string log_directory;    // of the supervisor's files for children
  std::string state_directory;  // where checkpoints and dead letters go; empty = none is writable
  std::vector<std::string> remarks;  // how the state directory was chosen, when not the default

  static Surroundings of_process(const config::LogsConfig& config);
};

// What the configuration asks for that this program cannot do, and what cannot work: a sentence
// each.
std::vector<std::string> find_problems(const config::LogsConfig& config,
                                       const Surroundings& surroundings);

// How lines of the input at `index` (from 0) are read, for looking at lines by hand: nothing is
// created, no output is needed. An error says what is wrong with the input or the fields.
Result<EncoderOptions> inspection_options(const config::LogsConfig& config, std::size_t index);

// Where the checkpoint of the output at `index` may be, the likeliest first, for an adapter that
// ran as `child` of `service` (both may be empty). Nothing is created.
std::vector<std::string> checkpoint_candidates(const config::LogsConfig& config, std::size_t index,
                                               const std::string& service,
                                               const std::string& child);

// One per input that is received, not started.
std::vector<std::unique_ptr<Receiver>> make_receivers(Loop& loop, const config::LogsConfig& config,
                                                      const Surroundings& surroundings);

// One pipeline per output, not started. Call only when find_problems() has found none.
std::vector<std::unique_ptr<Pipeline>> make_pipelines(Loop& loop, const Clock& clock,
                                                      const config::LogsConfig& config,
                                                      const Surroundings& surroundings);

}  // namespace pillion::logs
