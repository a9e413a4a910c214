#include "adapters/logs/pipeline.h"

#include <algorithm>
#include <random>
#include <type_traits>

#include <fmt/format.h>

#include "runtime/log.h"

namespace pillion::logs {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;
// How often the owner calls tick().
constexpr Duration kTick = std::chrono::seconds(1);
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
      look_timer_(loop),
      is_alive_(std::make_shared<bool>(true)) {
  std::random_device random;
  run_id_ = std::uint64_t{random()} << 32 | random();
}

Pipeline::~Pipeline() {
  *is_alive_ = false;
  output_.reset();  // before the batches that it may still read
}

void Pipeline::start() {
  std::vector<std::string> problems;
  Checkpoint saved;
  if (!options_.checkpoint_path.empty())
    saved = load_checkpoint(options_.checkpoint_path, problems);
  const auto& entries = saved.files;
  for (const auto& problem : problems) {
    log::warn("{}; {}", problem,
              entries.empty() ? "files are read from their start (records may repeat)"
                              : "using the state before it");
  }
  take_over_ledger(std::move(saved.ledger));
  for (auto& follower_options : options_.followers) {
    std::vector<FileCheckpoint> own;
    for (const auto& entry : entries) {
      if (entry.input == follower_options.pattern) own.push_back(entry);
    }
    followers_.push_back(std::make_unique<Follower>(follower_options, std::move(own)));
  }
  look_often();
  open_journals(saved.journals);
  if (options_.make_stream_encoder) {
    stream_ = std::make_unique<StreamInput>(options_.make_stream_encoder());
  }
  look();
  // Known from the first moment: what is rotated away before the first acknowledgement is found
  // again.
  save_checkpoint_now();
  wake();
}

void Pipeline::open_journals(const std::vector<JournalCheckpoint>& saved) {
  for (const JournalOptions& journal : options_.journals) {
    const auto known =
        std::find_if(saved.begin(), saved.end(),
                     [&](const JournalCheckpoint& entry) { return entry.name == journal.name; });
    journals_.push_back(std::make_shared<JournalFollower>(
        loop_, journal, known == saved.end() ? "" : known->cursor, [this] { wake(); }));
  }
}

void Pipeline::look_often() {
  Duration interval = kTick;
  for (const auto& follower : options_.followers) {
    interval = std::min(interval, follower.discover_interval);
  }
  if (interval == kTick) return;
  look_timer_.start(interval, interval, [this] {
    look();
    wake();
  });
}

void Pipeline::look() {
  for (const auto& follower : followers_) {
    follower->check(clock_.now());
    if (follower->take_has_new_file()) is_checkpoint_dirty_ = true;
  }
}

void Pipeline::tick() {
  look();
  for (const auto& journal : journals_) journal->tick();
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

// Calls `read`, which adds records of `input` to the batch, and notes whose they are. `filtered`
// tells how many the source has left out so far.
template<class Read, class Filtered>
auto Pipeline::read_from(std::size_t input, const Read& read, const Filtered& filtered) {
  const std::uint64_t records_before = batch_->records.record_count();
  const std::uint64_t filtered_before = filtered();
  if constexpr (std::is_void_v<decltype(read())>) {
    read();
    note_share(input, records_before, filtered() - filtered_before);
  } else {
    const auto result = read();
    note_share(input, records_before, filtered() - filtered_before);
    return result;
  }
}

void Pipeline::note_share(std::size_t input, std::uint64_t records_before, std::uint64_t filtered) {
  const std::uint64_t records = batch_->records.record_count() - records_before;
  if (records + filtered == 0) return;
  ledger_.read += records;
  ledger_.filtered += filtered;
  own_[input].read += records;
  own_[input].filtered += filtered;
  auto& shares = batch_->shares;
  if (shares.empty() || shares.back().input != input) shares.push_back({input});
  shares.back().records += records;
  shares.back().filtered += filtered;
}

// True when there is more to read than fitted.
bool Pipeline::fill_batch() {
  if (!batch_) batch_ = new_batch();
  const std::size_t bytes_max = output_->batch_bytes();
  const auto wall_ns = clock_.wall_now().time_since_epoch().count();
  bool is_full = false;
  if (stream_) {
    is_full = read_from(
        options_.stream_input, [&] { return stream_->read(batch_->records, bytes_max, wall_ns); },
        [&] { return stream_->counters().filtered; });
  }
  for (const auto& journal : journals_) {
    if (!is_full) is_full = read_journal(journal, bytes_max, wall_ns);
  }
  for (std::size_t i = 0; i < followers_.size() && !is_full; ++i) {
    const std::size_t at = (next_follower_ + i) % followers_.size();
    auto& follower = *followers_[at];
    is_full = read_from(
        options_.followers[at].input,
        [&] {
          return follower.read(read_buffer_, batch_->records, bytes_max, batch_->marks, wall_ns);
        },
        [&] { return follower.filtered(); });
    if (is_full) next_follower_ = (at + 1) % followers_.size();
  }
  return is_full;
}

bool Pipeline::read_journal(const std::shared_ptr<JournalFollower>& journal, std::size_t bytes_max,
                            std::int64_t wall_ns) {
  const std::string before = journal->cursor();
  const bool is_full = read_from(
      journal->options().input, [&] { return journal->read(batch_->records, bytes_max, wall_ns); },
      [&] { return journal->counters().filtered; });
  if (journal->cursor() != before) {
    batch_->journal_marks.push_back({journal, journal->cursor(), before});
  }
  return is_full;
}

// For the end: unfinished lines become records.
void Pipeline::flush_partials() {
  for (std::size_t i = 0; i < followers_.size(); ++i) {
    auto& follower = *followers_[i];
    read_from(
        options_.followers[i].input,
        [&] { follower.flush_partials(read_buffer_, batch_->records, batch_->marks); },
        [&] { return follower.filtered(); });
  }
  if (!stream_) return;
  read_from(
      options_.stream_input, [&] { stream_->flush_partial(batch_->records); },
      [&] { return stream_->counters().filtered; });
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
    flush_partials();
  }
  if (batch_->records.size() == 0 && !batch_->has_marks()) {
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
  if (!batch_ || (batch_->records.size() == 0 && !batch_->has_marks())) return;
  batch_->identity = identity_of(*batch_);
  if (options_.issued) take_out_secrets(batch_->records);
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

std::string Pipeline::identity_of(const Batch& batch) {
  if (!batch.has_marks()) return fmt::format("{:016x}-{}", run_id_, ++batches_without_place_);
  if (batch.marks.empty()) {
    const JournalMark& first = batch.journal_marks.front();
    return fmt::format("{:016x}", hash64(first.begin, hash64(first.journal->options().name)));
  }
  const FileMark& first = batch.marks.front();
  return fmt::format("{:016x}-{}", hash64(fmt::format("{}", first.epoch), first.file->identity()),
                     first.begin);
}

void Pipeline::take_out_secrets(RecordBuffer& records) {
  const auto refreshed = options_.issued->refresh();
  const std::string trouble = refreshed ? "" : refreshed.error().message();
  if (!trouble.empty() && trouble != redaction_trouble_) {
    log::error("{}: secrets issued since then are not taken out of records", trouble);
  }
  redaction_trouble_ = trouble;
  redacted_ += options_.issued->apply(records);
}

void Pipeline::on_batch_done(Batch& batch) {
  batch.is_done = true;
  std::sort(batch.dropped.begin(), batch.dropped.end());
  PILLION_ASSERT(batch.dropped.size() <= batch.records.record_count());
  ledger_.delivered += batch.delivered();
  ledger_.dropped += batch.dropped.size();
  add_outcome(batch, own_);
  settle();
  if (is_paused_ || on_drained_) wake();
}

// What became of a batch, by input. Reading has counted the rest in `own_`.
void Pipeline::add_outcome(const Batch& batch, std::vector<Ledger>& ledgers) {
  auto dropped = batch.dropped.begin();
  std::uint64_t end = 0;
  for (const Batch::Share& share : batch.shares) {
    end += share.records;
    const auto behind = std::lower_bound(dropped, batch.dropped.end(), end);
    const auto refused = static_cast<std::uint64_t>(behind - dropped);
    dropped = behind;
    ledgers[share.input].delivered += share.records - refused;
    ledgers[share.input].dropped += refused;
  }
}

// The same where it is kept: with it the batch counts as read, and what was left out as filtered.
void Pipeline::add_settled(const Batch& batch) {
  add_outcome(batch, settled_);
  for (const Batch::Share& share : batch.shares) {
    settled_[share.input].read += share.records;
    settled_[share.input].filtered += share.filtered;
  }
}

// Positions move in the order of the batches, whatever order they were acknowledged in.
void Pipeline::settle() {
  while (!in_flight_.empty() && in_flight_.front()->is_done) {
    auto batch = std::move(in_flight_.front());
    in_flight_.pop_front();
    in_flight_bytes_ -= batch->records.capacity();
    add_settled(*batch);
    for (const auto& mark : batch->marks) mark.file->acknowledge(mark.offset, mark.epoch);
    for (const auto& mark : batch->journal_marks) mark.journal->acknowledge(mark.cursor);
    is_checkpoint_dirty_ = is_checkpoint_dirty_ || batch->has_marks();
    batch->marks.clear();
    batch->journal_marks.clear();
    batch->records.clear();
    batch->shares.clear();
    batch->dropped.clear();
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
  for (const auto& journal : journals_) journal->tick();
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

void Pipeline::take_over_ledger(std::vector<InputLedger> saved) {
  own_.resize(options_.input_names.size());
  earlier_.resize(options_.input_names.size());
  for (InputLedger& input : saved) {
    const auto& names = options_.input_names;
    const auto found = std::find(names.begin(), names.end(), input.input);
    if (found == names.end()) {
      former_.push_back(std::move(input));
    } else {
      earlier_[static_cast<std::size_t>(found - names.begin())] += input.counts;
    }
  }
  settled_ = earlier_;
}

std::vector<InputLedger> Pipeline::input_ledgers() const {
  std::vector<InputLedger> ledgers;
  for (std::size_t i = 0; i < own_.size(); ++i) {
    ledgers.push_back({options_.input_names[i], earlier_[i]});
    ledgers.back().counts += own_[i];
  }
  ledgers.insert(ledgers.end(), former_.begin(), former_.end());
  return ledgers;
}

Checkpoint Pipeline::checkpoint() const {
  Checkpoint result;
  result.output = output_->name();
  for (const auto& follower : followers_) {
    auto own = follower->checkpoint();
    result.files.insert(result.files.end(), std::make_move_iterator(own.begin()),
                        std::make_move_iterator(own.end()));
  }
  for (const auto& journal : journals_) {
    if (!journal->acknowledged().empty()) {
      result.journals.push_back({journal->options().name, journal->acknowledged()});
    }
  }
  for (std::size_t i = 0; i < settled_.size(); ++i) {
    result.ledger.push_back({options_.input_names[i], settled_[i]});
  }
  result.ledger.insert(result.ledger.end(), former_.begin(), former_.end());
  return result;
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
  for (const auto& journal : journals_) {
    sum.bytes_read += journal->bytes_read();
    sum.encode += journal->counters();
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
