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
#include "adapters/logs/journal/journal_follower.h"
#include "runtime/clock.h"
#include "runtime/result.h"

namespace pillion::logs {

struct Batch {
  // Consecutive records of one input.
  struct Share {
    std::size_t input = 0;  // its place in the configuration
    std::uint64_t records = 0;
    std::uint64_t filtered = 0;  // left out on the way
  };

  RecordBuffer records;
  std::vector<FileMark> marks;
  std::vector<JournalMark> journal_marks;
  std::vector<Share> shares;  // in the order of the records
  // What became of the records, filled in by the output: all that are not among `dropped` are
  // delivered when the batch is done.
  std::vector<std::uint32_t> dropped;
  bool is_done = false;
  // Made of the place of its first record: when the same records are read and gathered once more,
  // it is the same, and no other batch has it.
  std::string identity;

  bool has_marks() const { return !marks.empty() || !journal_marks.empty(); }

  std::uint64_t delivered() const { return records.record_count() - dropped.size(); }
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
