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
#include "adapters/logs/output/output.h"
#include "adapters/logs/stream_input.h"
#include "runtime/loop.h"

namespace pillion::logs {

// read = delivered + dropped + pending, in records. Always true: pending is derived.
struct Ledger {
  std::uint64_t read = 0;
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t pending() const { return read - delivered - dropped; }
};

struct PipelineOptions {
  std::string checkpoint_path;  // empty = none is kept
  Duration checkpoint_interval = std::chrono::seconds(1);
  std::size_t in_flight_bytes_max = 64u << 20;
  // Offsets per file make sense only for outputs that keep what they got.
  std::vector<FollowerOptions> followers;
  std::function<Encoder()> make_stream_encoder;  // set when standard input is read
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
  const Ledger& ledger() const { return ledger_; }
  Follower::Counts counts() const;
  std::size_t in_flight_bytes() const { return in_flight_bytes_; }
  bool is_paused() const { return is_paused_; }
  // Whether everything in this file is delivered, and it is closed.
  bool has_finished(const FileFacts& facts) const;
  std::vector<std::string> directories() const;
  std::vector<std::string> awaited_paths() const;

 private:
  void look();
  void pump();
  bool fill_batch();
  void hand_over();
  bool has_room() const;
  std::unique_ptr<Batch> new_batch();
  void on_batch_done(Batch& batch);
  void settle();
  void finish_drain();
  void save_checkpoint_soon();
  std::vector<FileCheckpoint> checkpoint() const;

  Loop& loop_;
  const Clock& clock_;
  PipelineOptions options_;
  std::unique_ptr<Output> output_;
  std::vector<std::unique_ptr<Follower>> followers_;
  std::unique_ptr<StreamInput> stream_;
  ReadBuffer read_buffer_;
  std::unique_ptr<Batch> batch_;                  // being filled
  std::deque<std::unique_ptr<Batch>> in_flight_;  // handed over, in order
  std::vector<std::unique_ptr<Batch>> spare_;
  std::size_t in_flight_bytes_ = 0;
  std::size_t next_follower_ = 0;
  Ledger ledger_;
  Timer pump_timer_;   // the next slice of reading
  Timer batch_timer_;  // a batch that is not full yet
  Timer checkpoint_timer_;
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
