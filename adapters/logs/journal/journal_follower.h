// Follows the journal of systemd: the journal is the queue, a cursor says how far it is delivered.
// Every output has a follower of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/logs/encode/encoder.h"
#include "adapters/logs/journal/journal_entry.h"
#include "adapters/logs/journal/journal_library.h"
#include "runtime/loop.h"

namespace pillion::logs {

struct JournalOptions {
  std::size_t input = 0;           // its place in the configuration
  std::string name;                // in the checkpoint
  std::string directory;           // empty: the machine's own journal
  std::vector<std::string> units;  // empty: all
  std::vector<std::string> match;  // "FIELD=value"
  bool starts_at_end = false;      // without a cursor
  std::size_t value_bytes_max = 1u << 20;
  std::function<Encoder()> make_encoder;
};

// What cannot work: no library, no such directory, a match that is none.
Result<void> check_journal(const JournalOptions& options);

class JournalFollower {
 public:
  // `wake` runs when there may be more to read.
  JournalFollower(Loop& loop, JournalOptions options, std::string cursor,
                  std::function<void()> wake);
  ~JournalFollower();
  JournalFollower(const JournalFollower&) = delete;
  JournalFollower& operator=(const JournalFollower&) = delete;

  // Once a second: opens what could not be opened, and looks anew.
  void tick();
  // Encodes entries until `records` holds `records_bytes_max`; true when there may be more.
  bool read(RecordBuffer& records, std::size_t records_bytes_max, std::int64_t wall_ns);

  // Of the last entry read; empty before the first.
  const std::string& cursor() const { return cursor_; }
  void acknowledge(const std::string& cursor) { acknowledged_ = cursor; }
  const std::string& acknowledged() const { return acknowledged_; }
  const JournalOptions& options() const { return options_; }
  const EncodeCounters& counters() const { return encoder_.counters(); }
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  Result<void> open();
  void close();
  Result<void> add_matches();
  void seek();
  Result<bool> next();
  void fill_entry();

  Loop& loop_;
  JournalOptions options_;
  std::function<void()> wake_;
  Encoder encoder_;
  JournalEntry entry_;
  const JournalLibrary* library_ = nullptr;
  sd_journal* journal_ = nullptr;
  std::optional<Poll> poll_;
  std::string line_;
  std::string cursor_;
  std::string acknowledged_;
  std::string trouble_;
  bool has_current_ = false;  // the journal stands at an entry that is not read yet
  bool is_dirty_ = true;
  std::uint64_t bytes_read_ = 0;
};

// How far a batch takes a journal.
struct JournalMark {
  std::shared_ptr<JournalFollower> journal;  // shared: as FileMark
  std::string cursor;
  std::string begin;  // of the entry before the batch's first
};

}  // namespace pillion::logs
