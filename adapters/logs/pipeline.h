// All inputs to one output: reads, encodes, hands over, and remembers what was acknowledged. Every
// output has a pipeline of its own, with its own positions in the files, so that a slow or dead one
// holds up nobody else. The files are the queue: nothing is kept twice, a position moves only when
// its records are delivered, and reading pauses while too much is in flight.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/logs/follow/follower.h"
#include "adapters/logs/issued_redaction.h"
#include "adapters/logs/output/output.h"
#include "adapters/logs/stream_input.h"
#include "runtime/loop.h"

namespace pillion::logs {

struct PipelineOptions {
  std::string checkpoint_path;  // empty = none is kept
  Duration checkpoint_interval = std::chrono::seconds(1);
  std::size_t in_flight_bytes_max = 64u << 20;
  // Offsets per file make sense only for outputs that keep what they got.
  std::vector<FollowerOptions> followers;
  std::vector<JournalOptions> journals;
  std::function<Encoder()> make_stream_encoder;  // set when standard input is read
  std::size_t stream_input = 0;                  // its place in the configuration
  std::vector<std::string> input_names;          // of the whole configuration
  std::shared_ptr<IssuedRedaction> issued;       // shared by all pipelines; null: nothing is
};

class Pipeline {
 public:
  using MakeOutput = std::function<std::unique_ptr<Output>(Output::OnDone)>;

  Pipeline(Loop& loop, const Clock& clock, PipelineOptions options, const MakeOutput& make_output);
  ~Pipeline();

  // Loads the checkpoint and opens the files.
  void start();
  // Once a second: paths, timers, the checkpoint.
  void tick();
  void on_event(const std::string& directory, std::string_view name, bool is_content_only);
  void on_overflow();
  StreamInput* stream() { return stream_ ? stream_.get() : nullptr; }
  // There may be something to read.
  void wake();

  // Reads everything there is to its end, unfinished lines too, and waits for the output; then
  // `on_drained`, once.
  void drain(std::function<void()> on_drained);
  // Reads no further and waits until what was taken is settled; then `on_settled`, once. Unfinished
  // lines stay unread. For a reload.
  void pause(std::function<void()> on_settled);
  // Writes the checkpoint now; blocks for the disk. For the end.
  void save_checkpoint_now();

  const Output& output() const { return *output_; }
  // Of this run, all inputs together.
  const Ledger& ledger() const { return ledger_; }
  // Of all runs since the first checkpoint, per input.
  std::vector<InputLedger> input_ledgers() const;
  Follower::Counts counts() const;
  std::size_t in_flight_bytes() const { return in_flight_bytes_; }
  bool is_paused() const { return is_paused_; }
  // Records from which an issued secret was taken out.
  std::uint64_t redacted() const { return redacted_; }
  // Whether everything in this file is delivered, and it is closed.
  bool has_finished(const FileFacts& facts) const;
  std::vector<std::string> directories() const;
  std::vector<std::string> awaited_paths() const;

 private:
  void look();
  void look_often();
  void pump();
  bool fill_batch();
  template<class Read, class Filtered>
  auto read_from(std::size_t input, const Read& read, const Filtered& filtered);
  std::string identity_of(const Batch& batch);
  void take_out_secrets(RecordBuffer& records);
  void note_share(std::size_t input, std::uint64_t records_before, std::uint64_t filtered);
  void flush_partials();
  bool read_journal(const std::shared_ptr<JournalFollower>& journal, std::size_t bytes_max,
                    std::int64_t wall_ns);
  void open_journals(const std::vector<JournalCheckpoint>& saved);
  void add_outcome(const Batch& batch, std::vector<Ledger>& ledgers);
  void add_settled(const Batch& batch);
  void take_over_ledger(std::vector<InputLedger> saved);
  void hand_over();
  bool has_room() const;
  std::unique_ptr<Batch> new_batch();
  void on_batch_done(Batch& batch);
  void settle();
  void finish_drain();
  void save_checkpoint_soon();
  Checkpoint checkpoint() const;

  Loop& loop_;
  const Clock& clock_;
  PipelineOptions options_;
  std::unique_ptr<Output> output_;
  std::vector<std::unique_ptr<Follower>> followers_;
  std::vector<std::shared_ptr<JournalFollower>> journals_;
  std::unique_ptr<StreamInput> stream_;
  ReadBuffer read_buffer_;
  std::unique_ptr<Batch> batch_;                  // being filled
  std::deque<std::unique_ptr<Batch>> in_flight_;  // handed over, in order
  std::vector<std::unique_ptr<Batch>> spare_;
  std::size_t in_flight_bytes_ = 0;
  std::size_t next_follower_ = 0;
  Ledger ledger_;
  std::vector<Ledger> own_;          // per input: of this run
  std::vector<Ledger> settled_;      // of it what the positions are behind, and all earlier runs
  std::vector<Ledger> earlier_;      // all earlier runs
  std::vector<InputLedger> former_;  // of inputs that the configuration no longer has
  std::uint64_t run_id_ = 0;
  std::uint64_t batches_without_place_ = 0;
  std::uint64_t redacted_ = 0;
  std::string redaction_trouble_;
  Timer pump_timer_;   // the next slice of reading
  Timer batch_timer_;  // a batch that is not full yet
  Timer checkpoint_timer_;
  Timer look_timer_;  // when somebody wants to look more often than the tick
  bool is_paused_ = false;
  bool is_draining_ = false;  // reads to the end first
  bool is_reading_ = true;
  bool needs_check_ = false;  // a directory event since the last look
  bool has_flushed_ = false;
  std::function<void()> on_drained_;
  MonotonicTime checkpoint_saved_{};
  bool is_checkpoint_dirty_ = false;
  bool is_saving_ = false;
  std::shared_ptr<bool> is_alive_;  // told to pool work that ends after us
};

}  // namespace pillion::logs
