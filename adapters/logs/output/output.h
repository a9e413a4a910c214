// Where records go. An output gets batches in order and reports each exactly once: what became of
// its records. Until then the batch's memory is the output's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/logs/encode/state.h"
#include "adapters/logs/follow/follower.h"
#include "runtime/clock.h"
#include "runtime/result.h"

namespace pillion::logs {

struct Batch {
  RecordBuffer records;
  std::vector<FileMark> marks;
  // What became of the records, filled in by the output; the sum is record_count() when done.
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
  bool is_done = false;
};

class Output {
 public:
  using OnDone = std::function<void(Batch&)>;

  virtual ~Output() = default;

  // What it is, for people and metric labels: "stdout", "file /var/log/x.json".
  virtual std::string name() const = 0;
  // Takes `batch`, which stays valid until `on_done(batch)`; that runs once, never before this
  // returns, perhaps not in order, and perhaps never when the output is destroyed first.
  virtual void deliver(Batch& batch) = 0;
  // How much should be gathered before deliver(), and for how long at most.
  virtual std::size_t batch_bytes() const = 0;
  virtual std::size_t batch_records() const { return SIZE_MAX; }
  virtual Duration batch_wait() const { return Duration::zero(); }
  // Memory that may be in flight; the pipeline's own budget applies as well.
  virtual std::size_t in_flight_bytes_max() const = 0;
  // Makes what was delivered survive a crash of the machine. Runs on the thread pool, while
  // deliver() may go on.
  virtual Result<void> sync() { return {}; }
  // The stop has begun: do not wait long before a retry.
  virtual void hurry() {}
  // Why nothing moves at the moment, empty when it does.
  virtual std::string trouble() const { return {}; }
  // Counters of its own kind.
  struct Stat {
    const char* name;
    const char* help;
    std::uint64_t value;
  };
  virtual std::vector<Stat> stats() const { return {}; }
};

}  // namespace pillion::logs
