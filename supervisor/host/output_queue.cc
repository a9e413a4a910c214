#include "supervisor/host/output_queue.h"

#include <algorithm>

#include <fmt/format.h>

#include "supervisor/host/failpoint.h"

namespace pillion::supervisor::host {
namespace {

constexpr std::uint64_t kBatchBytesMax = 64 * 1024;
constexpr std::size_t kStretchesMax = 256;
constexpr auto kStretchTime = std::chrono::milliseconds(1);

std::string mark_late_records(WallTime time, std::uint64_t dropped) {
  return frame_record(
      time, OutputStream::Stderr, false, 0,
      fmt::format("[pillion: {} records dropped, the log could not keep up]", dropped));
}

}  // namespace

OutputQueue::OutputQueue(OutputStream kind, OutputJournal journal, std::shared_ptr<OutputLog> log)
    : kind_(kind), journal_(std::move(journal)), log_(std::move(log)) {
  if (const auto write = journal_.announced()) {
    if (log_->has_written(*write)) {
      journal_.commit();
    } else {
      journal_.withdraw();
    }
  }
}

void OutputQueue::begin(std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t dropped = journal_.late_drops();
  const bool has_rest = journal_.head() != journal_.tail();
  if (!has_rest && dropped == 0) return;
  stretches_.push_back({journal_.tail(), SystemClock().wall_now(), generation, dropped});
}

// Bytes up to the tail were read just now. What was read within a moment is one stretch.
void OutputQueue::extend(std::uint64_t generation) {
  const WallTime now = SystemClock().wall_now();
  const bool is_same = !stretches_.empty() && stretches_.back().dropped == 0 &&
                       stretches_.back().generation == generation;
  if (is_same &&
      (stretches_.size() >= kStretchesMax || now - stretches_.back().time < kStretchTime)) {
    stretches_.back().end = journal_.tail();
    return;
  }
  stretches_.push_back({journal_.tail(), now, generation, 0});
}

std::size_t OutputQueue::fill(int pipe, std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  const std::size_t count = journal_.fill(pipe);
  if (count > 0) extend(generation);
  return count;
}

std::size_t OutputQueue::append(std::string_view bytes, std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  const std::size_t count = journal_.append(bytes);
  if (count > 0) extend(generation);
  return count;
}

bool OutputQueue::end_line(std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  const std::string_view pending = journal_.bytes(journal_.head());
  if (pending.empty() || pending.back() == '\n' || journal_.append("\n") == 0) return false;
  extend(generation);
  return true;
}

void OutputQueue::note_dropped(std::uint64_t records) {
  const std::lock_guard lock(mutex_);
  journal_.late_drops() += records;
  dropped_total_ += records;
  if (stretches_.empty() || stretches_.back().end != journal_.tail()) {
    stretches_.push_back({journal_.tail(), SystemClock().wall_now(), 0, 0});
  }
  stretches_.back().dropped += records;
}

std::uint64_t OutputQueue::room() const {
  const std::lock_guard lock(mutex_);
  return journal_.room();
}

std::uint64_t OutputQueue::waiting_bytes() const {
  const std::lock_guard lock(mutex_);
  return journal_.tail() - journal_.head();
}

bool OutputQueue::has_work() const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t head = journal_.head();
  if (first_line(journal_.bytes(head))) return true;
  return std::any_of(stretches_.begin(), stretches_.end(),
                     [&](const Stretch& each) { return each.dropped > 0 && each.end <= head; });
}

// Lines up to 64 KiB of records, or the mark of what was dropped at the head.
OutputQueue::Batch OutputQueue::take_batch() {
  const std::lock_guard lock(mutex_);
  const std::uint64_t head = journal_.head();
  std::uint64_t dropped = 0;
  while (!stretches_.empty() && stretches_.front().end <= head) {
    dropped += stretches_.front().dropped;
    stretches_.pop_front();
  }
  Batch batch;
  if (dropped > 0) {
    batch.records = mark_late_records(SystemClock().wall_now(), dropped);
    batch.count = 1;
    batch.marked = dropped;
    return batch;
  }
  const std::string_view pending = journal_.bytes(head);
  const std::uint64_t batch_max = std::min(kBatchBytesMax, log_->file_bytes_max());
  auto stretch = stretches_.begin();
  std::string whole;
  std::string part;
  while (const auto line = first_line(pending.substr(batch.consumed))) {
    const std::uint64_t end = head + batch.consumed + line->consumed;
    while (stretch != stretches_.end() && stretch->end < end && stretch->dropped == 0) {
      ++stretch;
      whole.clear();
    }
    if (whole.empty()) {
      const bool is_known = stretch != stretches_.end();
      const WallTime time = is_known ? stretch->time : SystemClock().wall_now();
      const std::uint64_t generation = is_known ? stretch->generation : 0;
      whole = frame_prefix(time, kind_, false, generation);
      part = frame_prefix(time, kind_, true, generation);
    }
    const std::string& prefix = line->is_partial ? part : whole;
    const std::size_t size = prefix.size() + line->text.size() + 1;
    if (batch.count > 0 && batch.records.size() + size > batch_max) break;
    batch.records.append(prefix).append(line->text).append(1, '\n');
    batch.consumed += line->consumed;
    ++batch.count;
    if (stretch != stretches_.end() && stretch->dropped > 0 && stretch->end <= end) break;
  }
  return batch;
}

bool OutputQueue::write_some() {
  const Batch batch = take_batch();
  if (batch.count == 0) return false;
  write_batch(batch);
  return true;
}

void OutputQueue::write_batch(const Batch& batch) {
  bool is_announced = false;
  const std::uint64_t refused = log_->dropped_records();
  log_->write(batch.records, batch.count, [&](const LogWrite& write) {
    journal_.announce(write, batch.consumed, batch.marked);
    is_announced = true;
    failpoint("output announced");
  });
  failpoint("output written");
  if (is_announced && log_->dropped_records() == refused) return journal_.commit();
  journal_.consume(batch.consumed);
  // A mark that was refused: what it was to tell is told with the rest.
  if (batch.marked > 0) {
    log_->add_dropped(batch.marked - 1);
    journal_.late_drops() -= batch.marked;
  }
}

}  // namespace pillion::supervisor::host
