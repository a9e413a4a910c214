// The output of one child on disk: records in the CRI log format, in a file that is rotated by
// rename. Never fails its caller: what cannot be written is dropped and counted, and a marker tells
// how much, once writing works again. One thread writes; others may ask for what is atomic.
//
//   2024-01-15T14:32:01.123456789Z stdout F:g3 the line
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/clock.h"
#include "runtime/fd.h"
#include "supervisor/host/output_journal.h"

namespace pillion::supervisor::host {

enum class OutputStream { Stdout, Stderr };

// One record with its newline. `is_partial`: the line goes on in the next record.
std::string frame_record(WallTime time, OutputStream stream, bool is_partial,
                         std::uint64_t generation, std::string_view line);
// What it begins with, up to the line.
std::string frame_prefix(WallTime time, OutputStream stream, bool is_partial,
                         std::uint64_t generation);

struct OutputLogLimits {
  std::uint64_t file_bytes_max = 10u << 20;
  unsigned rotated_files = 5;
};

class OutputLog {
 public:
  // What is written in place of dropped records once writing works again; may be empty.
  using DropMarker = std::function<std::string(std::uint64_t dropped)>;
  using BeforeWrite = std::function<void(const LogWrite&)>;

  OutputLog(std::string path, OutputLogLimits limits, DropMarker marker = mark_dropped_records);

  // A record of ours in the CRI format.
  static std::string mark_dropped_records(std::uint64_t dropped);

  // `count` whole records. `before_write` is told of the append that follows, unless there is none.
  void write(std::string_view records, unsigned count = 1, const BeforeWrite& before_write = {});
  // Whether that append was made in full; a part of it is taken back.
  bool has_written(const LogWrite& write);

  // Count from the next record on. From any thread.
  void set_limits(OutputLogLimits limits);
  std::uint64_t dropped_records() const { return dropped_total_; }
  // Since the last marker.
  std::uint64_t unmarked_drops() const { return dropped_; }
  // Records that were dropped elsewhere, to be told by the next marker.
  void add_dropped(std::uint64_t records);
  // Continues with this count and keeps it there, until told to stop; no effect when it is kept
  // somewhere already.
  void keep_drops_in(std::atomic<std::uint64_t>* counter);
  void stop_keeping_drops_in(const std::atomic<std::uint64_t>* counter);
  // The error of the last write, 0 when it succeeded.
  int error() const { return error_; }
  std::uint64_t file_bytes_max() const { return file_bytes_max_; }

 private:
  bool open();
  bool look();
  void rotate();
  void set_drops(std::uint64_t dropped);

  std::string path_;
  std::atomic<std::uint64_t> file_bytes_max_;
  std::atomic<unsigned> rotated_files_;
  DropMarker marker_;
  Fd file_;
  std::uint64_t inode_ = 0;
  std::uint64_t size_ = 0;
  std::uint64_t dropped_ = 0;  // since the last marker
  std::atomic<std::uint64_t> dropped_total_{0};
  std::mutex kept_mutex_;  // whose journal it is may end while another's records are written
  std::atomic<std::uint64_t>* kept_drops_ = nullptr;
  std::atomic<int> error_{0};
};

// The first line of a byte stream, or the first 16 KiB of a longer one.
struct OutputLine {
  static constexpr std::size_t kPartBytes = 16 * 1024;

  std::string_view text;
  std::size_t consumed = 0;  // of the stream: the text and its newline
  bool is_partial = false;
};

// Empty when the line is not complete. `is_end`: what there is is the last line.
std::optional<OutputLine> first_line(std::string_view bytes, bool is_end = false);

}  // namespace pillion::supervisor::host
