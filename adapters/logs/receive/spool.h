// The queue on disk of an input that cannot be read again (a socket, a named pipe): a log file that
// we write, and that the pipelines follow as they follow any other. Rotated at a size; a rotated
// segment goes when every pipeline has delivered it. Survives a crash of the program; what the
// kernel had not written out is lost with the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "adapters/logs/follow/followed_file.h"
#include "runtime/fd.h"
#include "runtime/result.h"

namespace pillion::logs {

class Spool {
 public:
  // `path` is the current segment; older ones are PATH.1, PATH.2, … in the order of writing.
  Spool(std::string path, std::uint64_t bytes_max)
      : path_(std::move(path)), bytes_max_(bytes_max) {}

  // Goes on with the segments of an earlier run.
  Result<void> open();
  // Appends whole lines. On an error nothing of them is in the file.
  Result<void> append(std::string_view lines);
  // Whether the segments take less than their limit.
  bool has_room() const { return segments_bytes_ + current_bytes_ < bytes_max_; }
  std::uint64_t bytes() const { return segments_bytes_ + current_bytes_; }
  // Removes the segments of which `is_delivered` says so.
  void collect(const std::function<bool(const FileFacts&)>& is_delivered);

 private:
  Result<void> rotate();

  std::string path_;
  std::uint64_t bytes_max_;
  Fd fd_;
  std::uint64_t current_bytes_ = 0;
  std::uint64_t segments_bytes_ = 0;  // of rotated segments
  std::uint64_t next_number_ = 1;
};

}  // namespace pillion::logs
