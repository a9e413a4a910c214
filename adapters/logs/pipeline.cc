#include "adapters/logs/pipeline.h"

#include <algorithm>

#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;
constexpr std::size_t kSpareBatchesMax = 4;
// How long one slice of reading may keep the loop from its other work.
constexpr Duration kSlice = std::chrono::milliseconds(10);

}  // namespace

Pipeline::Pipeline(Loop& loop, const Clock& clock, PipelineOptions options,
                   const MakeOutput& make_output)
    : loop_(loop),
      clock_(clock),
      options_(std::move(options)),
      output_(make_output([this](Batch& batch) { on_batch_done(batch); })),
      read_buffer_(kReadBytes),
      pump_timer_(loop),
      batch_timer_(loop),
      checkpoint_timer_(loop),
      is_alive_(std::make_shared<bool>(true)) {}

Pipeline::~Pipeline() { *is_alive_ = false; }

void Pipeline::start() {
  std::vector<std::string> problems;
  std::vector<FileCheckpoint> entries;
  if (!options_.checkpoint_path.empty())
    entries = load_checkpoint(options_.checkpoint_path, problems);
  for (const auto& problem : problems) {
    log::warn("{}; {}", problem,
              entries.empty() ? "files are read from their start (records may repeat)"
                              : "using the state before it");
  }
  for (auto& follower_options : options_.followers) {
    std::vector<FileCheckpoint> own;
    for (const auto& entry : entries) {
      if (entry.input == follower_options.pattern) own.push_back(entry);
    }
    followers_.push_back(std::make_unique<Follower>(follower_options, std::move(own)));
  }
  if (options_.make_stream_encoder) {
    stream_ = std::make_unique<StreamInput>(options_.make_stream_encoder());
  }
  look();
  // Known from the first moment: what is rotated away before the first acknowledgement is found
  // again.
  save_checkpoint_now();
  wake();
}

void Pipeline::look() {
  for (const auto& follower : followers_) {
    follower->check(clock_.now());
    if (follower->take_has_new_file()) is_checkpoint_dirty_ = true;
  }
}

void Pipeline::tick() {
  look();
  if (stream_) stream_->tick();
  save_checkpoint_soon();
  wake();
}

void Pipeline::on_event(const std::string& directory, std::string_view name, bool is_content_only) {
  for (const auto& follower : followers_) {
    follower->on_event(directory, name, is_content_only);
  }
  needs_check_ = needs_check_ || !is_content_only;
  wake();
}

void Pipeline::on_overflow() {
  for (const auto& follower : followers_) follower->mark_all_dirty();
  wake();
}

void Pipeline::wake() {
  if (pump_timer_.is_active()) return;
  pump_timer_.start(Duration::zero(), [this] { pump(); });
}

bool Pipeline::has_room() const {
  return in_flight_bytes_ < std::min(options_.in_flight_bytes_max, output_->in_flight_bytes_max());
}

std::unique_ptr<Batch> Pipeline::new_batch() {
  if (spare_.empty()) return std::make_unique<Batch>();
  auto batch = std::move(spare_.back());
  spare_.pop_back();
  return batch;
}

// True when there is more to read than fitted.
bool Pipeline::fill_batch() {
  if (!batch_) batch_ = new_batch();
  const std::size_t bytes_max = output_->batch_bytes();
  const auto wall_ns = clock_.wall_now().time_since_epoch().count();
  const std::size_t records_before = batch_->records.record_count();
  bool is_full = false;
  if (stream_) is_full = stream_->read(batch_->records, bytes_max, wall_ns);
  for (std::size_t i = 0; i < followers_.size() && !is_full; ++i) {
    auto& follower = *followers_[(next_follower_ + i) % followers_.size()];
    is_full = follower.read(read_buffer_, batch_->records, bytes_max, batch_->marks, wall_ns);
    if (is_full) next_follower_ = (next_follower_ + i + 1) % followers_.size();
  }
  ledger_.read += batch_->records.record_count() - records_before;
  return is_full;
}

void Pipeline::pump() {
  if (!is_reading_) {
    finish_drain();
    return;
  }
  const MonotonicTime start = clock_.now();
  if (std::exchange(needs_check_, false)) {
    look();
    save_checkpoint_soon();
  }
  for (;;) {
    is_paused_ = !has_room();
    if (is_paused_) return;  // on_batch_done() wakes us
    const bool is_full = fill_batch();
    if (is_full) {
      hand_over();
      if (clock_.now() - start < kSlice) continue;
      wake();
      return;
    }
    read_buffer_.shrink_to(kReadBytes);
    break;
  }
  if (is_draining_ && !has_flushed_) {
    has_flushed_ = true;
    const std::size_t before = batch_->records.record_count();
    for (const auto& follower : followers_) {
      follower->flush_partials(read_buffer_, batch_->records, batch_->marks);
    }
    if (stream_) stream_->flush_partial(batch_->records);
    ledger_.read += batch_->records.record_count() - before;
  }
  if (batch_->records.size() == 0 && batch_->marks.empty()) {
    finish_drain();
    return;
  }
  if (is_draining_ || output_->batch_wait() == Duration::zero() ||
      batch_->records.size() >= output_->batch_bytes() ||
      batch_->records.record_count() >= output_->batch_records()) {
    hand_over();
  } else if (!batch_timer_.is_active()) {
    batch_timer_.start(output_->batch_wait(), [this] { hand_over(); });
  }
}

void Pipeline::hand_over() {
  batch_timer_.stop();
  if (!batch_ || (batch_->records.size() == 0 && batch_->marks.empty())) return;
  in_flight_.push_back(std::move(batch_));
  Batch& batch = *in_flight_.back();
  in_flight_bytes_ += batch.records.capacity();
  if (batch.records.record_count() == 0) {  // only blank lines: positions move, nothing to deliver
    batch.is_done = true;
    settle();
    return;
  }
  output_->deliver(batch);
}

void Pipeline::on_batch_done(Batch& batch) {
  PILLION_ASSERT(batch.delivered + batch.dropped == batch.records.record_count());
  batch.is_done = true;
  ledger_.delivered += batch.delivered;
  ledger_.dropped += batch.dropped;
  settle();
  if (is_paused_ || on_drained_) wake();
}

// Positions move in the order of the batches, whatever order they were acknowledged in.
void Pipeline::settle() {
  while (!in_flight_.empty() && in_flight_.front()->is_done) {
    auto batch = std::move(in_flight_.front());
    in_flight_.pop_front();
    in_flight_bytes_ -= batch->records.capacity();
    for (const auto& mark : batch->marks) mark.file->acknowledge(mark.offset, mark.epoch);
    is_checkpoint_dirty_ = is_checkpoint_dirty_ || !batch->marks.empty();
    batch->marks.clear();
    batch->records.clear();
    batch->delivered = batch->dropped = 0;
    batch->is_done = false;
    if (spare_.size() < kSpareBatchesMax && batch->records.capacity() <= (8u << 20)) {
      spare_.push_back(std::move(batch));
    }
  }
  save_checkpoint_soon();
}

void Pipeline::drain(std::function<void()> on_drained) {
  on_drained_ = std::move(on_drained);
  is_draining_ = true;
  for (const auto& follower : followers_) {
    follower->check(clock_.now());
    follower->mark_all_dirty();
  }
  output_->hurry();
  wake();
}

void Pipeline::pause(std::function<void()> on_settled) {
  on_drained_ = std::move(on_settled);
  is_reading_ = false;
  hand_over();
  wake();
}

void Pipeline::finish_drain() {
  if (!in_flight_.empty() || is_saving_ || !on_drained_) return;
  const auto on_drained = std::exchange(on_drained_, nullptr);
  on_drained();
}

std::vector<FileCheckpoint> Pipeline::checkpoint() const {
  std::vector<FileCheckpoint> entries;
  for (const auto& follower : followers_) {
    auto own = follower->checkpoint();
    entries.insert(entries.end(), std::make_move_iterator(own.begin()),
                   std::make_move_iterator(own.end()));
  }
  return entries;
}

void Pipeline::save_checkpoint_soon() {
  if (!is_checkpoint_dirty_ || is_saving_ || checkpoint_timer_.is_active() ||
      options_.checkpoint_path.empty()) {
    return;
  }
  const Duration left = checkpoint_saved_ + options_.checkpoint_interval - clock_.now();
  if (left > Duration::zero()) {
    checkpoint_timer_.start(left, [this] { save_checkpoint_soon(); });
    return;
  }
  is_saving_ = true;
  is_checkpoint_dirty_ = false;
  auto failure = std::make_shared<std::string>();
  loop_.queue_work(
      [output = output_.get(), path = options_.checkpoint_path, entries = checkpoint(), failure] {
        // What the checkpoint says is delivered must be on the disk before the checkpoint is.
        auto result = output->sync();
        if (result) result = save_checkpoint(path, entries);
        if (!result) *failure = result.error().message();
      },
      [this, is_alive = is_alive_, failure] {
        if (!*is_alive) return;
        is_saving_ = false;
        checkpoint_saved_ = clock_.now();
        if (on_drained_) wake();
        if (failure->empty()) save_checkpoint_soon();
        if (failure->empty()) return;
        log::error("cannot save the checkpoint: {}", *failure);
        is_checkpoint_dirty_ = true;
      });
}

void Pipeline::save_checkpoint_now() {
  if (options_.checkpoint_path.empty()) return;
  is_checkpoint_dirty_ = false;
  checkpoint_saved_ = clock_.now();
  auto result = output_->sync();
  if (result) result = save_checkpoint(options_.checkpoint_path, checkpoint());
  if (!result) log::error("cannot save the checkpoint: {}", result.error().message());
}

Follower::Counts Pipeline::counts() const {
  Follower::Counts sum;
  for (const auto& follower : followers_) {
    const auto counts = follower->counts();
    sum.files_open += counts.files_open;
    sum.bytes_read += counts.bytes_read;
    sum.bytes_unread += counts.bytes_unread;
    sum.rotations += counts.rotations;
    sum.truncations += counts.truncations;
    sum.encode += counts.encode;
  }
  if (stream_) {
    sum.bytes_read += stream_->bytes_read();
    sum.encode += stream_->counters();
  }
  return sum;
}

bool Pipeline::has_finished(const FileFacts& facts) const {
  return std::any_of(followers_.begin(), followers_.end(),
                     [&](const auto& follower) { return follower->has_finished(facts); });
}

std::vector<std::string> Pipeline::directories() const {
  std::vector<std::string> result;
  for (const auto& follower : followers_) {
    for (auto& directory : follower->directories()) result.push_back(std::move(directory));
  }
  return result;
}

std::vector<std::string> Pipeline::awaited_paths() const {
  std::vector<std::string> result;
  for (const auto& follower : followers_) {
    for (auto& path : follower->awaited_paths()) result.push_back(std::move(path));
  }
  return result;
}

}  // namespace pillion::logs
