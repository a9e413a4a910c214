// Lines from a stream that cannot be read again: our standard input. Each pipeline holds what it
// has not encoded yet; the reader of the stream waits while one of them holds too much.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "adapters/logs/encode/encoder.h"

namespace pillion::logs {

class StreamInput {
 public:
  static constexpr std::size_t kBytesMax = 4u << 20;

  explicit StreamInput(Encoder encoder) : encoder_(std::move(encoder)) {}

  bool has_room() const { return pending_.size() - consumed_ < kBytesMax; }
  void append(std::string_view bytes) {
    pending_.append(bytes);
    bytes_read_ += bytes.size();
    is_dirty_ = true;
    is_idle_ = false;
  }
  // Once a second: lines that wait for more of their record do so for a second or two.
  void tick() {
    if (!std::exchange(is_idle_, true)) return;
    is_group_due_ = pending_.size() > consumed_ || encoder_.safe_offset(offset_) != offset_;
    is_dirty_ = is_dirty_ || is_group_due_;
  }
  // The writer has closed: an unfinished last line is complete now.
  void close() { is_closed_ = is_dirty_ = true; }
  bool is_closed() const { return is_closed_; }
  bool is_empty() const { return consumed_ == pending_.size(); }

  // Encodes complete lines until `records` holds `records_bytes_max`; true when it is full.
  bool read(RecordBuffer& records, std::size_t records_bytes_max, std::int64_t wall_ns);
  void flush_partial(RecordBuffer& records);

  const EncodeCounters& counters() const { return encoder_.counters(); }
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  Encoder encoder_;
  std::string pending_;
  std::size_t consumed_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t bytes_read_ = 0;
  bool is_dirty_ = false;
  bool is_idle_ = false;  // nothing has come since the last tick
  bool is_group_due_ = false;
  bool is_closed_ = false;
};

}  // namespace pillion::logs
