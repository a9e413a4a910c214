#include "adapters/logs/stream_input.h"

#include "runtime/log.h"

namespace pillion::logs {

bool StreamInput::read(RecordBuffer& records, std::size_t records_bytes_max, std::int64_t wall_ns) {
  if (!is_dirty_) return false;
  encoder_.set_observed_time(wall_ns);
  pending_.reserve(pending_.size() + kScanPadding);
  const std::string_view left = std::string_view(pending_).substr(consumed_);
  const bool is_group_due = std::exchange(is_group_due_, false);
  const std::size_t taken = is_group_due
                                ? encoder_.encode_rest(left, offset_, records, records_bytes_max)
                                : encoder_.encode(left, offset_, records, records_bytes_max);
  if (is_group_due) encoder_.flush_groups(records);
  consumed_ += taken;
  offset_ += taken;
  if (const std::string choice = encoder_.take_choice(); !choice.empty()) {
    log::info("standard input: format {}", choice);
  }
  if (records.size() >= records_bytes_max) return true;
  pending_.erase(0, consumed_);
  consumed_ = 0;
  is_dirty_ = false;
  // A line without end must not hold the stream up: it goes out in pieces.
  if (is_closed_ || !has_room()) flush_partial(records);
  return false;
}

void StreamInput::flush_partial(RecordBuffer& records) {
  std::string_view left = std::string_view(pending_).substr(consumed_);
  const std::size_t taken = encoder_.encode_rest(left, offset_, records);
  left.remove_prefix(taken);
  offset_ += taken;
  if (!left.empty()) encoder_.encode_unfinished(left, offset_, records);
  offset_ += left.size();
  pending_.clear();
  consumed_ = 0;
  encoder_.flush_joined(records);
}

}  // namespace pillion::logs
